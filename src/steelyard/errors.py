"""The errors and warnings of the library; each says what, where and what to do."""

from __future__ import annotations

from collections.abc import Sequence


class SteelyardError(Exception):
    """Base of every error that steelyard raises on purpose."""


class InputError(SteelyardError, ValueError):
    """The caller's data or arguments cannot be used.

    Parameters
    ----------
    faults : str or sequence of str
        One sentence a fault: what is wrong, where, and what to do. Faults that
        are found together are raised together.
    """

    def __init__(self, faults: str | Sequence[str]) -> None:
        self.faults: tuple[str, ...] = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__("\n".join(self.faults))


class LearnerError(SteelyardError, TypeError):
    """A learner cannot do what is asked of it, such as take sample weights."""


class InconclusiveError(SteelyardError, ValueError):
    """The data cannot support an answer; the message says why."""


class OverlapWarning(UserWarning):
    """Weights rest on few rows, or part of the target is not covered by the source."""
