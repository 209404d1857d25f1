"""From a data frame of any package to a Polars frame."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import polars as pl

from steelyard.auditing.reading.names import first_line, repeated_fault


def from_native(source: Any, side: str, faults: list[str]) -> pl.DataFrame | None:
    """Return a data frame as a Polars frame; None, and why in ``faults``, if it is none.

    Parameters
    ----------
    source : object
        A frame of pandas, Polars, Arrow or whatever else Narwhals knows.
    side : str
        What to call the table in a message.
    faults : list of str
        Whatever is wrong is appended here.
    """
    names = _names(source)
    fault = repeated_fault(side, names) if names else None
    if fault is not None:
        same = len({str(type(name)) for name in getattr(source, "columns", names)}) > 1
        faults.append(f"{fault} (names are texts here: 1 and '1' are the same)" if same else fault)
        return None
    try:
        native = nw.from_native(_plain_pandas(source, names) if _is_pandas(source) else source)
    except nw.exceptions.DuplicateError as error:
        faults.append(
            f"{side} has columns of the same name ({first_line(error)}); rename or remove the copies"
        )
        return None
    except TypeError:
        faults.append(f"{side} is a {type(source).__name__}, not a table; {_instead(source)}")
        return None
    try:
        eager = native.collect(backend="polars") if isinstance(native, nw.LazyFrame) else native
        return eager.to_polars()
    except ModuleNotFoundError as error:
        faults.append(f"{side} needs the package '{error.name}' to be read; install steelyard[pandas]")
        return None
    except (Exception, pl.exceptions.PanicException) as error:
        # pyarrow's errors share no base with Polars': whichever it is, the column cannot become one type.
        faults.append(f"{side} cannot be converted ({first_line(error)}); give every column one type")
        return None


def _names(source: Any) -> list[str]:
    """Return the names of a frame that may have the same one twice."""
    if _is_pandas(source):
        return [str(name) for name in source.columns]
    names = getattr(source, "column_names", None)
    return list(names) if isinstance(names, list) else []


def _is_pandas(source: Any) -> bool:
    return type(source).__module__.split(".")[0] == "pandas" and hasattr(source, "columns")


def _plain_pandas(frame: Any, names: list[str]) -> Any:
    """Return a pandas frame whose names are texts, and whose columns Arrow does not read otherwise."""
    # A new frame: the caller's keeps its names.
    frame = frame.set_axis(names, axis=1)
    changed = {}
    for name in names:
        column = frame[name]
        categories = getattr(column.dtype, "categories", None)
        if categories is not None and hasattr(column, "cat"):
            # A categorical of numbers stays a category: on the way to Arrow it would become a number.
            changed[name] = column.cat.rename_categories([str(value) for value in categories])
        elif hasattr(column, "sparse"):
            changed[name] = column.sparse.to_dense()
    return frame.assign(**changed) if changed else frame


def _instead(source: Any) -> str:
    if type(source).__module__.split(".")[0] == "scipy":
        return "give its columns names: pandas.DataFrame(X.toarray(), columns=...)"
    if type(source).__module__.split(".")[0] == "numpy":
        return "give its columns names: pandas.DataFrame(X, columns=...)"
    return "give a path, or a pandas, Polars or Arrow table"
