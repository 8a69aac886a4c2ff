"""What a user declares: one component a file.

Owns: the components and the typed stack config. Promises: relative imports inside, so that the folder runs
by path and ships as ``tickover.components``. Never: I/O.
"""
