"""Faults of the data that would explain how the tables differ, or why the model looks so good."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from steelyard.auditing.data_faults.dependencies import broken_dependencies
from steelyard.auditing.data_faults.exchanged import exchanged_columns
from steelyard.auditing.data_faults.fillers import filled_in
from steelyard.auditing.data_faults.leaks import target_leaks
from steelyard.auditing.data_faults.look import Look
from steelyard.auditing.data_faults.recoded import recoded_values
from steelyard.auditing.data_faults.relations import broken_relations
from steelyard.auditing.data_faults.rescaled import rescaled_numbers
from steelyard.auditing.data_faults.reversed import reversed_numbers
from steelyard.auditing.data_faults.units import mixed_units
from steelyard.auditing.data_faults.upside_down import upside_down
from steelyard.auditing.result import Finding
from steelyard.auditing.tables import ModelOutput, Tables

CHECKS = (
    target_leaks,
    exchanged_columns,
    filled_in,
    rescaled_numbers,
    mixed_units,
    broken_dependencies,
    recoded_values,
    reversed_numbers,
    broken_relations,
)
"""The checks, most telling first: of one column only the first that tells of it is heard."""


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

    Notes
    -----
    Time O(n d log n + n d^2) for at most 20,000 rows of a side and 200 columns where columns are held
    against one another; beyond 200 those that come first are.
    """
    return (*upside_down(tables, output), *told_by(CHECKS, Look.at(tables, seed=seed)))


def told_by(checks: Iterable[Callable[[Look], list[Finding]]], look: Look) -> tuple[Finding, ...]:
    """Return what some checks find; of a column that an earlier one tells of a later one does not."""
    found: list[Finding] = []
    told: set[str] = set()
    for check in checks:
        for finding in check(look):
            # A column in the place of another breaks its sums, runs the other way, and so on.
            if finding.id != "target-leak" and told & set(finding.columns):
                continue
            found.append(finding)
            if finding.explains and finding.id != "target-leak":
                told |= set(finding.columns)
    return tuple(found)
