"""The one-liner: weights of the source rows, from arrays or data frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn.preprocessing import OneHotEncoder

from steelyard.errors import InputError
from steelyard.weighting.auto import AutoRatio
from steelyard.weighting.base import RatioEstimator
from steelyard.weighting.named import as_weighting

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

# Boosting takes 255 codes at most; the rarest categories share the last.
_MOST_CATEGORIES = 250


@dataclass(frozen=True)
class Coded:
    """Two tables as floats, category codes counted from 0 in both alike, and which columns hold them.

    ``names`` are the columns', and ``levels`` the texts of each column's codes, None for numbers.
    """

    X: FloatArray
    X_target: FloatArray
    coder: TableCoder

    @property
    def categorical(self) -> BoolArray:
        """Which columns hold codes."""
        return np.array([codes is not None for codes in self.coder.codes], dtype=bool)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return self.coder.names

    @property
    def levels(self) -> tuple[tuple[str, ...] | None, ...]:
        """The texts of each column's codes."""
        return tuple(None if codes is None else _levels(codes) for codes in self.coder.codes)


@dataclass(frozen=True)
class TableCoder:
    """What two tables taught about coding a third: the columns' names, and the code of each text.

    ``kinds`` is None for arrays, which have neither names nor text.
    """

    names: tuple[str, ...]
    codes: tuple[dict[str, float] | None, ...]
    kinds: tuple[str, ...] | None = None

    def __call__(self, X: Any) -> FloatArray:
        """Return the rows of ``X`` as floats; a text that neither table held is missing (NaN)."""
        table = nw.from_native(X, eager_only=True, pass_through=True)
        framed = isinstance(table, nw.DataFrame)
        if framed != (self.kinds is not None):
            raise InputError(
                f"X is {'a' if framed else 'no'} data frame, unlike the tables that were fitted; "
                "pass one of their kind."
            )
        if self.kinds is None:
            return _float_array(X, "X")
        lacking = [name for name in self.names if name not in table.columns]
        if lacking:
            raise InputError(
                f"X lacks {_some(lacking)}, which the fitted tables have; pass the same columns."
            )
        columns = []
        for name, kind, codes in zip(self.names, self.kinds, self.codes):
            column = _nameless(table[name])
            found = _kind(column)
            if found != kind and not _all_missing(column):
                raise InputError(f"column {name!r} is {found} in X and was {kind}; bring both to one type.")
            columns.append(_numbers(column) if codes is None else _coded(_texts(column), codes))
        return np.column_stack(columns)


class Indicators:
    """A column of 0 and 1 in place of each common category of coded rows."""

    def __init__(self, coded: Coded) -> None:
        self.categorical = coded.categorical
        self.encoder = OneHotEncoder(max_categories=30, sparse_output=False, handle_unknown="ignore")
        if self.categorical.any():
            self.encoder.fit(np.vstack([coded.X, coded.X_target])[:, self.categorical])

    def __call__(self, codes: FloatArray) -> FloatArray:
        """Return the rows with numbers first, indicators behind."""
        if not self.categorical.any():
            return codes
        return np.hstack([codes[:, ~self.categorical], self.encoder.transform(codes[:, self.categorical])])


@dataclass(frozen=True)
class TableWeighting:
    """A weight estimator that was fitted to tables, and weighs further ones as it read those."""

    estimator: Any
    encode: Callable[[Any], Any]

    def weights(self, X: Any = None) -> FloatArray:
        """Return weights of the source rows that were fitted, or of the rows of ``X``."""
        own = self.estimator.weights() if X is None else self.estimator.weights(self.encode(X))
        return np.asarray(own, dtype=np.float64)


def weights(
    X: Any,
    X_target: Any,
    *,
    y: Any = None,
    method: Any = "auto",
    sample_weight: Any = None,
    random_state: Any = None,
) -> FloatArray:
    """Return how much each source row counts so that the source stands for the target.

    Assumes what the method does; all assume that the target has no mass where the
    source has none, which :func:`steelyard.weighting.check_weights` looks into.

    Parameters
    ----------
    X : array or data frame of shape (n, d)
        Source rows. In a frame (of pandas, Polars or Arrow), columns of text,
        categories and booleans are encoded.
    X_target : array or data frame of shape (m, d)
        Target rows; the columns of frames are matched by name.
    y : array of shape (n,), optional
        Source labels, for the methods that use them.
    method : str or weight estimator
        ``"auto"`` (`AutoRatio`), the name of a weight estimator of
        :mod:`steelyard.weighting`, such as ``"RuLSIF"``, in any case, or an estimator.
    sample_weight : array of shape (n,), optional
        How often each source row counts; the weights are then to be multiplied by it.
    random_state : int, Generator or None

    Returns
    -------
    array of shape (n,)
        Not negative, of mean one (weighted by ``sample_weight`` where given).

    Raises
    ------
    InputError
        The two tables do not have the same columns, a column is neither numbers nor text,
        or there is no such method.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(500, 1)), rng.normal(0.5, size=(500, 1))
    >>> w = weights(X, X_target, random_state=0)
    >>> float(w.mean().round(6)), bool(np.average(X[:, 0], weights=w) > 0.4)
    (1.0, True)
    """
    fitted = fit_to_tables(method, X, X_target, y=y, sample_weight=sample_weight, random_state=random_state)
    return np.asarray(fitted.weights(), dtype=np.float64)


def fit_to_tables(
    weighting: Any,
    X: Any,
    X_target: Any,
    *,
    y: Any = None,
    sample_weight: Any = None,
    random_state: Any = None,
) -> TableWeighting:
    """Fit a weight estimator, given or named, to arrays or data frames, encoded where it needs it.

    The parameters are those of :func:`weights`.

    Examples
    --------
    >>> import polars as pl
    >>> X, X_target = pl.DataFrame({"a": ["u", "v"] * 50}), pl.DataFrame({"a": ["u", "v", "v"] * 30})
    >>> fitted = fit_to_tables("ClassifierRatio", X, X_target, random_state=0)
    >>> fitted.weights()[:2].round(1).tolist(), fitted.weights(X_target)[:2].round(1).tolist()
    ([0.7, 1.3], [0.7, 1.3])
    """
    estimator = as_weighting(weighting, random_state=random_state)
    if _reads_tables(estimator) or _reads_tables(getattr(estimator, "weighting", None)):
        encode: Callable[[Any], Any] = _unchanged
        source, target = X, X_target
    else:
        coded = code_tables(X, X_target)
        source, target, encode = coded.X, coded.X_target, coded.coder
        if isinstance(estimator, AutoRatio):
            if coded.categorical.any() and estimator.categorical_features is None:
                estimator.set_params(categorical_features=coded.categorical)
        elif coded.categorical.any():
            indicators = Indicators(coded)
            source, target = indicators(source), indicators(target)
            encode = _InTurn(coded.coder, indicators)
    labels = None if y is None else np.asarray(y)
    keywords = {} if sample_weight is None else {"sample_weight": sample_weight}
    return TableWeighting(estimator.fit(source, labels, X_target=target, **keywords), encode)


@dataclass(frozen=True)
class _InTurn:
    first: Callable[[Any], FloatArray]
    second: Callable[[FloatArray], FloatArray]

    def __call__(self, X: Any) -> FloatArray:
        return self.second(self.first(X))


def _unchanged(X: Any) -> Any:
    return X


def _reads_tables(estimator: Any) -> bool:
    """Whether the method reads text by itself, and would lose what it reads if it were encoded."""
    return any("_rows" in vars(kind) for kind in type(estimator).__mro__ if kind is not RatioEstimator)


def code_tables(X: Any, X_target: Any) -> Coded:
    """Return two arrays or data frames as floats: numbers as they are, codes for text, NaN where missing.

    Parameters
    ----------
    X : array or data frame of shape (n, d)
    X_target : array or data frame of shape (m, d)

    Raises
    ------
    InputError
        The tables do not have the same columns, or a column is neither numbers nor text.

    Examples
    --------
    >>> import polars as pl
    >>> coded = code_tables(pl.DataFrame({"a": ["u", "v", "v"]}), pl.DataFrame({"a": ["v", None]}))
    >>> coded.X[:, 0].tolist(), coded.X_target[:, 0].tolist()
    ([1.0, 0.0, 0.0], [0.0, nan])
    """
    source = nw.from_native(X, eager_only=True, pass_through=True)
    target = nw.from_native(X_target, eager_only=True, pass_through=True)
    frames = [isinstance(table, nw.DataFrame) for table in (source, target)]
    if not any(frames):
        return _coded_arrays(X, X_target)
    if not all(frames):
        raise InputError("one of X and X_target is a data frame and the other is not; pass two of a kind.")
    _check_columns(source.columns, target.columns)
    faults, columns, codes, kinds = [], [], [], []
    by_name = dict(zip(target.columns, map(_nameless, target.iter_columns())))
    for name, column in zip(source.columns, map(_nameless, source.iter_columns())):
        pair = column, by_name[name]
        both = [_kind(part) for part in pair]
        if both[0] != both[1]:  # a column without values is of any kind
            both = [both[1 - i] if _all_missing(part) else both[i] for i, part in enumerate(pair)]
        if "unknown" in both:
            which = pair[both.index("unknown")]
            faults.append(
                f"column {name!r} is of type {which.dtype}, which is neither numbers, dates nor text; "
                "convert or drop it."
            )
        elif both[0] != both[1]:
            faults.append(
                f"column {name!r} is {both[0]} in X and {both[1]} in X_target; bring both to one type."
            )
        else:
            code = None
            if both[0] == "text":
                texts = [_texts(part) for part in pair]
                code = _codes(*texts)
                columns.append([_coded(part, code) for part in texts])
            else:
                columns.append([_numbers(part) for part in pair])
            codes.append(code)
            kinds.append(both[0])
    if faults:
        raise InputError(faults)
    return Coded(
        np.column_stack([c[0] for c in columns]),
        np.column_stack([c[1] for c in columns]),
        TableCoder(tuple(source.columns), tuple(codes), tuple(kinds)),
    )


def _nameless(column: Any) -> Any:
    """Return a column without its name, which Polars would take for a pattern if it is ``^b$``."""
    return column.alias("column")


def _coded_arrays(X: Any, X_target: Any) -> Coded:
    both = [_float_array(table, name) for name, table in (("X", X), ("X_target", X_target))]
    width = both[0].shape[-1] if both[0].ndim else 0
    names = tuple(f"x{j}" for j in range(width))
    return Coded(both[0], both[1], TableCoder(names, (None,) * width))


def _float_array(table: Any, name: str) -> FloatArray:
    if issparse(table):
        raise InputError(f"{name} is a sparse matrix; pass an array, {name}.toarray(), if it fits in memory.")
    try:
        # The checks of the estimator say what is wrong with the shape.
        return np.asarray(table, dtype=np.float64)
    except (TypeError, ValueError) as fault:
        raise InputError(
            f"{name} holds values that are not numbers ({fault}); pass a data frame, whose columns of "
            "text are encoded, or numbers."
        ) from None


def _check_columns(source: list[str], target: list[str]) -> None:
    for name, columns in (("X", source), ("X_target", target)):
        if not columns:
            raise InputError(f"{name} has no columns; pass a table with columns and rows.")
    shared = set(source) & set(target)
    if not shared:
        raise InputError(
            f"X and X_target have no column in common: {_some(source)} and {_some(target)}; "
            "rename or select them."
        )
    faults = [
        f"{there} lacks {_some(lacking)}, which {here} has; pass the same columns on both sides."
        for here, there, lacking in (
            ("X", "X_target", [c for c in source if c not in shared]),
            ("X_target", "X", [c for c in target if c not in shared]),
        )
        if lacking
    ]
    if faults:
        raise InputError(faults)


def _some(names: list[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _kind(column: Any) -> str:
    dtype = column.dtype
    if dtype.is_numeric() or dtype == nw.Boolean:
        return "number"
    if dtype.is_temporal() and dtype != nw.Time:
        return "date"
    if dtype in (nw.String, nw.Categorical, nw.Enum) or isinstance(dtype, nw.Enum):
        return "text"
    if _all_missing(column):
        return "number"
    return "unknown"


def _all_missing(column: Any) -> bool:
    return bool(column.null_count() == len(column))


def _numbers(column: Any) -> FloatArray:
    if column.dtype == nw.Duration:
        return _as_floats(column.dt.total_microseconds())
    if column.dtype == nw.Date:
        column = column.cast(nw.Datetime("us"))
    if column.dtype.is_temporal():
        return _as_floats(column.dt.timestamp("ms"))
    return _as_floats(column)


def _as_floats(column: Any) -> FloatArray:
    if column.null_count() == 0:
        return np.asarray(column.to_numpy(), dtype=np.float64)
    missing = column.is_null().to_list()  # packages have marks of their own for it
    values = [np.nan if gone else v for gone, v in zip(missing, column.to_list())]
    return np.asarray(values, dtype=np.float64)


def _texts(column: Any) -> list[str | None]:
    missing = column.is_null().to_list()
    return [None if gone or v != v else str(v) for gone, v in zip(missing, column.to_list())]


def _codes(*texts: list[str | None]) -> dict[str, float]:
    """Number the categories of all columns together, the most frequent first."""
    counts = Counter(v for part in texts for v in part if v is not None)
    order = sorted(counts, key=lambda text: (-counts[text], text))
    return {text: float(min(i, _MOST_CATEGORIES - 1)) for i, text in enumerate(order)}


def _coded(texts: list[str | None], codes: dict[str, float]) -> FloatArray:
    return np.array([np.nan if v is None else codes.get(v, np.nan) for v in texts], dtype=np.float64)


def _levels(codes: dict[str, float]) -> tuple[str, ...]:
    order = list(codes)
    return tuple(order) if len(order) <= _MOST_CATEGORIES else (*order[: _MOST_CATEGORIES - 1], "any other")
