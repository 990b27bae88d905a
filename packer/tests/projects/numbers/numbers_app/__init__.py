"""Solves a system of equations: numpy brings compiled modules and libraries of its own."""

import sys

import numpy


def main():
    size = int(sys.argv[1])
    matrix = numpy.eye(size) * 2 + numpy.ones((size, size))
    expected = numpy.arange(size, dtype=float)
    solved = numpy.linalg.solve(matrix, matrix @ expected)
    print("largest error", "small" if numpy.abs(solved - expected).max() < 1e-9 else "too large")
    print("sum", int(numpy.rint(solved.sum())))
    print("random", numpy.random.default_rng(1).integers(0, 10, 3).size)
