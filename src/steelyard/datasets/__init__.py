"""Small real data that ships with the package, and generators whose truth is known."""

from steelyard.datasets.census import CensusSample, census_paths, load_census
from steelyard.datasets.generators import (
    make_gaussian_shift,
    make_mixture_shift,
    make_shift,
    make_tilted_uniform,
)
from steelyard.datasets.sample import ShiftedSample

__all__ = [
    "CensusSample",
    "ShiftedSample",
    "census_paths",
    "load_census",
    "make_gaussian_shift",
    "make_mixture_shift",
    "make_shift",
    "make_tilted_uniform",
]
