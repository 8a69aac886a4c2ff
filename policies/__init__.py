"""The rules that a stack is judged by.

Owns: `rules` and the pack that serves them. Promises: `rules` is importable and knows nothing of Pulumi.
Never: imported by the rest of tickover.
"""
