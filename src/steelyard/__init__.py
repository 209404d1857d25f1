"""Learning when the data you train on are not the data you face.

The main job is :func:`steelyard.audit`; the rooms below it hold the methods:
``weighting`` (how much does each row count), ``evaluation`` (what is the error
where there are no labels), ``conformal`` (which sets and intervals hold), and
others. Importing :mod:`steelyard` is light: a room is loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from steelyard._version import __version__

if TYPE_CHECKING:
    from steelyard.auditing import AuditResult, Reference, audit, load_reference, profile
    from steelyard.errors import InconclusiveError, InputError, OverlapWarning, SteelyardError
    from steelyard.weighting import weights

_HOME = {
    "audit": "steelyard.auditing",
    "AuditResult": "steelyard.auditing",
    "profile": "steelyard.auditing",
    "Reference": "steelyard.auditing",
    "load_reference": "steelyard.auditing",
    "weights": "steelyard.weighting",
    "SteelyardError": "steelyard.errors",
    "InputError": "steelyard.errors",
    "InconclusiveError": "steelyard.errors",
    "OverlapWarning": "steelyard.errors",
}
_ROOMS = (
    "auditing",
    "calibration",
    "conformal",
    "datasets",
    "divergences",
    "evaluation",
    "explain",
    "losses",
    "montecarlo",
    "neural",
    "numerics",
    "predictive",
    "reporting",
    "robust",
    "selection",
    "weighting",
)

__all__ = [
    "AuditResult",
    "InconclusiveError",
    "InputError",
    "OverlapWarning",
    "Reference",
    "SteelyardError",
    "__version__",
    "audit",
    "load_reference",
    "profile",
    "weights",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in _ROOMS:
        return import_module(f"steelyard.{name}")
    raise AttributeError(f"module 'steelyard' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_ROOMS])
