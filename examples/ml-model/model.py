"""Predicts with weights that were trained before: y = x @ slope + intercept."""

import os
import sys
from pathlib import Path

import numpy


def models() -> Path:
    """The slot in a package, the project's directory in development."""
    if "PSPF_PACKAGE" not in os.environ:
        return Path(__file__).parent / "trained_models"
    import pspf

    return pspf.slot("models")


def predict() -> None:
    values = numpy.array([float(word) for word in sys.argv[1:]])
    slope, intercept = numpy.loadtxt(models() / "line.txt")
    for x, y in zip(values, values * slope + intercept):
        print(f"{x:g} -> {y:g}")
