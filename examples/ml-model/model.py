"""Predicts with weights that were trained before, for the values that are given as arguments."""

import os
import sys
from pathlib import Path

import numpy
import pandas
from sklearn.linear_model import LinearRegression


def models() -> Path:
    """The slot in a package, the project's directory in development."""
    if "PSPF_PACKAGE" not in os.environ:
        return Path(__file__).parent / "trained_models"
    import pspf

    return pspf.slot("models")


def trained() -> LinearRegression:
    slope, intercept = numpy.loadtxt(models() / "line.txt")
    line = LinearRegression()
    line.coef_, line.intercept_ = numpy.array([slope]), intercept
    return line


def predict() -> None:
    table = pandas.DataFrame({"x": [float(word) for word in sys.argv[1:]]})
    if table.empty:
        sys.exit("usage: ml-model VALUE...")
    table["y"] = trained().predict(table[["x"]].to_numpy())
    print(table.to_string(index=False))
