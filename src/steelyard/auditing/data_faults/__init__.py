"""Faults of the data that would explain how the tables differ, or why the model looks so good."""

from __future__ import annotations

from steelyard.auditing.data_faults.upside_down import upside_down
from steelyard.auditing.result import Finding
from steelyard.auditing.tables import ModelOutput, Tables


def data_faults(tables: Tables, output: ModelOutput, *, seed: int) -> tuple[Finding, ...]:
    """Return what is found, most telling first.

    Parameters
    ----------
    tables : Tables
        The rows that models are fitted on.
    output : ModelOutput
        What the model says of them.
    seed : int
        Draws the rows that are looked at where there are many.
    """
    del seed
    return (*upside_down(tables, output),)
