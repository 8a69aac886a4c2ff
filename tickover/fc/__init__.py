"""The vocabulary: FC 3.0 (API 2023-03-30) resources, their limits, errors and request signature.

Owns: names and rules of the API. Promises: imports nothing of the rest of tickover; all but `client` is
free of I/O. Never: decides what to declare or when.
"""
