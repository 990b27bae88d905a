"""What a spawned worker runs; it has to be importable there."""

import sys


def square(number):
    return [number * number, sys.executable, sys.prefix]
