"""Prints a lot."""

import os
import sys

import pulumi

for number in range(4000):
    print(number, "x" * 240)
sys.stderr.write("y" * 300_000)
os.write(1, b"\xff\xfe broken \x1b[31m\n")
os.write(2, b"\x00no newline at the end")
sys.stdout.flush()
pulumi.export("printed", 4000)
