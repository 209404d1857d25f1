"""What every mergeable summary shares: equality, and a way to plain values and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from steelyard.errors import InputError
from steelyard.numerics.checks import as_vector

FloatArray = npt.NDArray[np.float64]


class Record:
    """Base of frozen dataclasses that hold numbers, vectors and tuples of vectors, all of them finite.

    A field's annotation says how its plain value is read back.
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as numbers and lists that JSON can hold without loss."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Return the summary that ``to_dict`` wrote; anything else raises an InputError."""
        kinds = {f.name: str(f.type) for f in fields(cls)}  # type: ignore[arg-type]
        if not isinstance(plain, Mapping) or set(plain) != set(kinds):
            found = ", ".join(map(str, plain)) if isinstance(plain, Mapping) else type(plain).__name__
            raise InputError(f"this is no {cls.__name__}: it needs {', '.join(kinds)}, and has {found}.")
        try:
            made = cls(**{name: _read(plain[name], kind) for name, kind in kinds.items()})
        except (TypeError, ValueError) as error:
            raise InputError(f"this {cls.__name__} is damaged: {error}") from error
        return made

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        names = [f.name for f in fields(self)]  # type: ignore[arg-type]
        return all(_same(getattr(self, name), getattr(other, name)) for name in names)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def _read(value: Any, kind: str) -> Any:
    if value is None:
        if kind.endswith("| None"):
            return None
        raise ValueError("a value is missing.")
    base = kind.removesuffix(" | None")
    if base == "FloatArray":
        array = np.asarray(value, dtype=np.float64)
        if array.ndim != 1 or not np.isfinite(array).all():
            raise ValueError("a list of finite numbers is needed.")
        return array
    if base == "tuple[FloatArray, ...]":
        return tuple(_read(part, "FloatArray") for part in value)
    if base == "int":
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{value!r} is no whole number.")
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no finite number.")
    return float(value)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return bool(np.array_equal(a, b))
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b))
    return bool(a == b)


def same_shape(name: str, *vectors: FloatArray) -> None:
    """Raise where vectors that belong together differ in length."""
    if len({vector.shape for vector in vectors}) > 1:
        raise InputError(f"the parts of {name} differ in length: {[len(vector) for vector in vectors]}.")


def batch_weights(sample_weight: Any, n: int) -> FloatArray:
    """Return a batch's weights; unlike those of a whole sample they may all be zero, and n may be 0."""
    if sample_weight is None:
        return np.ones(n)
    weights = as_vector(sample_weight, n=n, name="sample_weight")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise InputError("sample_weight has negative or infinite values; drop or cap those rows.")
    return weights


def padded(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the sum of two vectors, the shorter one filled up with zeros."""
    out = np.zeros(max(len(a), len(b)))
    out[: len(a)] += a
    out[: len(b)] += b
    return out
