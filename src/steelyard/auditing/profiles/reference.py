"""A reference profile: what an audit needs of TRAIN, kept in a file so that TRAIN need not be."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import polars as pl

from steelyard.auditing.profiles.parquet_footer import is_uncompressed
from steelyard.auditing.profiles.sealed import SUFFIX, Sealed, is_sealed, write_sealed
from steelyard.auditing.reading.dialect import PLAIN, Dialect, dialect
from steelyard.auditing.reading.names import column
from steelyard.auditing.reading.profile import ColumnProfile
from steelyard.auditing.result import Finding
from steelyard.errors import InputError
from steelyard.evaluation.sums import MetricSums
from steelyard.reporting.places import file_faults

FORMAT = 2
"""Version of the file's content. Readers refuse others; what seals the file is the same in all."""

MOST_SAMPLED = 10_000_000
"""Rows that a profile may hold."""

MOST_CELLS = 100_000_000
"""Rows times columns of a sample: a few bytes can claim to be any number of equal ones."""

MOST_TEXT = 1 << 30
"""Bytes that the texts of a column may come to when they are written out, however often one is repeated."""

_MAGIC = "steelyard reference profile"
_LARGEST = {
    "manifest.json": 1 << 24,
    "columns.json": 1 << 30,
    "sums.json": 1 << 28,
    "sample.parquet": 1 << 32,
}

ColumnRole = Literal["feature", "target", "output", "dropped"]


@dataclass(frozen=True)
class ReferenceColumn:
    """One column of TRAIN, over all rows that have a target.

    Attributes
    ----------
    name : str
    kind : {"number", "category", "date", "text", "absent"}
    role : {"feature", "target", "output", "dropped"}
    missing : float
        Share of rows without a value.
    distinct : int or None
        Different values; about, beyond 4,096.
    issues : tuple of str
        Why a column's values are not kept: it was excluded, identifies rows or is free text.
    profile : ColumnProfile or None
        None for every column but features.
    finding : Finding or None
        What an audit says of a column that is left out.
    """

    name: str
    kind: Literal["number", "category", "date", "text", "absent"]
    role: ColumnRole
    missing: float
    distinct: int | None
    issues: tuple[str, ...] = ()
    profile: ColumnProfile | None = field(default=None, repr=False)
    finding: Finding | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the column as plain values."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            **plain,
            "issues": list(self.issues),
            "profile": None if self.profile is None else self.profile.to_dict(),
            "finding": None
            if self.finding is None
            else {key: getattr(self.finding, key) for key in _FINDING},
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> ReferenceColumn:
        """Return the column that ``to_dict`` wrote; anything else raises an error."""
        read = _typed(plain, _COLUMN)
        profile, finding = read["profile"], read["finding"]
        return cls(
            **{
                **read,
                "issues": tuple(read["issues"]),
                "profile": None if profile is None else ColumnProfile.from_dict(profile),
                "finding": None if finding is None else Finding(**_typed(finding, _FINDING)),
            }
        )


@dataclass(frozen=True, eq=False)
class Reference:
    """A profile of TRAIN, as :func:`steelyard.profile` makes it; give it to ``audit`` in TRAIN's place.

    Attributes
    ----------
    created : str
        When it was made, in UTC.
    steelyard_version : str
    target : str
    proba, exclude : tuple of str
    prediction : str or None
    positive : str, number or None
        As they were named.
    seed : int
        Drew the sample.
    rows : int
        Rows of TRAIN that count.
    unlabelled, unknown : int
        Rows that do not: without a target, or of a class so rare that no row of it was drawn.
    columns : tuple of ReferenceColumn
        In TRAIN's order.
    sample : polars DataFrame
        A uniform sample of the rows, in their order: features, target and the model's output.
    sums : MetricSums or None
        Of all rows, where the deployed model's output is in columns.
    dialect : Dialect
        How TRAIN was read, and LIVE is to be.

    Notes
    -----
    The file is a zip archive of JSON and Parquet under a checksum. It holds no
    pickle, and reading it runs no code of its own.
    """

    created: str
    steelyard_version: str
    target: str
    proba: tuple[str, ...]
    prediction: str | None
    positive: str | int | float | bool | None
    exclude: tuple[str, ...]
    seed: int
    rows: int
    unlabelled: int
    unknown: int
    columns: tuple[ReferenceColumn, ...] = field(repr=False)
    sample: pl.DataFrame = field(repr=False)
    sums: MetricSums | None = field(default=None, repr=False)
    dialect: Dialect = PLAIN

    @property
    def whole(self) -> bool:
        """Whether the sample is all rows that count."""
        return self.sample.height == self.rows

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the columns with the deployed model's output."""
        return self.proba if self.prediction is None else (*self.proba, self.prediction)

    @property
    def withheld(self) -> tuple[ReferenceColumn, ...]:
        """Columns of TRAIN of which no value is kept."""
        kept = set(self.sample.columns)
        return tuple(column for column in self.columns if column.name not in kept)

    def save(self, path: str | Path) -> Path:
        """Write the profile to a file, whole or not at all.

        Parameters
        ----------
        path : str or Path
            Ends in ``.steelyard``. A profile that is there is replaced; any other file is left.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        InputError
            If another file is there, or the name has another ending.
        OSError
            If it cannot be written.
        """
        path = Path(path)
        faults = reference_faults(path)
        if faults:
            raise InputError(faults)
        named = [f.name for f in fields(self) if f.name not in ("columns", "sample", "sums", "dialect")]
        manifest = {"magic": _MAGIC, "format": FORMAT, **{name: getattr(self, name) for name in named}}
        manifest["dialect"] = _dialect_as_plain(self.dialect)
        manifest["sample_rows"] = self.sample.height
        manifest["sample_columns"] = self.sample.columns
        fault = _too_large(self.sample.lazy(), self.sample.height)
        if fault:
            raise InputError(f"{fault}; keep fewer rows (--sample), or exclude columns")
        table = BytesIO()
        try:
            # The archive compresses it, so that no more can be claimed than the archive allows.
            self.sample.write_parquet(table, compression="uncompressed")
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise InputError(
                f"the sample cannot be written as Parquet: {error}; exclude that column"
            ) from error
        members = {
            "manifest.json": _json(manifest),
            "columns.json": _json([column.to_dict() for column in self.columns]),
            "sums.json": _json(None if self.sums is None else self.sums.to_dict()),
            "sample.parquet": table.getvalue(),
        }
        large = [name for name, content in members.items() if len(content) > _LARGEST[name]]
        if large:
            raise InputError(
                f"the profile's {large[0]} takes {len(members[large[0]]):,} bytes, more than one may; keep "
                "fewer rows (--sample), or exclude columns"
            )
        write_sealed(path, members)
        return path


def as_reference(train: Any) -> Reference | None:
    """Return the profile that TRAIN is, or by its name the file of; None if it is a table."""
    if isinstance(train, (str, Path)):
        return load_reference(train) if Path(train).suffix.lower() == SUFFIX else None
    return train if isinstance(train, Reference) else None


def reference_faults(path: Path) -> list[str]:
    """Say why a profile cannot be written there; empty if it can."""
    if path.suffix.lower() != SUFFIX:
        return [f"'{path}' does not end in {SUFFIX}, by which an audit knows a profile; name it so"]
    faults = file_faults(path, "-o", kind="")
    if faults:
        return faults
    if path.exists() and not is_sealed(path):
        return [f"'{path}' is there already and is no profile; remove it, or choose another name"]
    return []


def load_reference(path: str | Path) -> Reference:
    """Read a profile that was saved.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Reference

    Raises
    ------
    InputError
        If the file is no profile, was made by a newer steelyard, or is not as it was written.

    Notes
    -----
    Time and memory O(file). What the file says of its own size is not believed.
    """
    with Sealed(Path(path)) as file:
        manifest = _parsed(file, "manifest.json", dict)
        if manifest.get("magic") != _MAGIC or not _is_count(manifest.get("format")):
            raise file.damaged("its manifest is that of something else")
        if 0 < manifest["format"] < FORMAT and manifest["format"] is not True:
            raise InputError(
                f"profile '{path}' was made by an older steelyard ({manifest.get('steelyard_version')}); "
                "make it anew with `steelyard profile`"
            )
        if manifest["format"] > FORMAT:
            raise InputError(
                f"profile '{path}' was made by a newer steelyard ({manifest.get('steelyard_version')}, "
                f"format {manifest['format']}; this one reads up to {FORMAT}); update steelyard"
            )
        if sorted(file.names) != sorted(_LARGEST):
            raise file.damaged(f"it holds {', '.join(file.names)}, not {', '.join(_LARGEST)}")
        columns = _parsed(file, "columns.json", list)
        sums = _parsed(file, "sums.json", (dict, type(None)))
        content = file.read("sample.parquet", _LARGEST["sample.parquet"])
        try:
            made = _made(manifest, columns, sums, content)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise file.damaged(" ".join(str(error).split())) from error
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise file.damaged(f"sample.parquet: {str(error).splitlines()[0]}") from error
    return made


def _made(manifest: dict[str, Any], columns: list[Any], sums: Any, content: bytes) -> Reference:
    """Return the profile, if its parts fit together."""
    plain = {key: value for key, value in manifest.items() if key != "magic"}
    stated = _typed(plain, _MANIFEST)
    del stated["format"]
    how = _typed(stated.pop("dialect"), _DIALECT)
    rows, names = stated.pop("sample_rows"), stated.pop("sample_columns")
    if not 0 < rows <= min(stated["rows"], MOST_SAMPLED):
        raise ValueError(f"a sample of {rows:,} of {stated['rows']:,} rows")
    if not is_uncompressed(content):
        raise ValueError("the sample is compressed, which no profile's is")
    # The number of rows is told by the table's end, before any of them takes memory.
    scan = pl.scan_parquet(BytesIO(content))
    if scan.collect_schema().names() != names or scan.select(pl.len()).collect().item() != rows:
        raise ValueError("the sample is not the table that the manifest describes")
    fault = _too_large(scan, rows)
    if fault:
        raise ValueError(fault)
    read = tuple(ReferenceColumn.from_dict(column) for column in columns)
    made = Reference(
        **{**stated, "proba": tuple(stated["proba"]), "exclude": tuple(stated["exclude"])},
        columns=read,
        sample=pl.read_parquet(BytesIO(content)),
        sums=None if sums is None else MetricSums.from_dict(sums),
        dialect=dialect(**how),
    )
    described = [column.name for column in read]
    if len(set(described)) != len(described) or [n for n in described if n in set(names)] != names:
        raise ValueError("the columns described are not those of the sample")
    lacking = {made.target, *made.outputs} - set(names)
    if lacking:
        raise ValueError(f"the sample lacks {', '.join(sorted(lacking))}")
    return made


def _too_large(scan: pl.LazyFrame, rows: int) -> str:
    """Say why a sample is more than a profile may hold, before its values are; empty if it is not."""
    schema = scan.collect_schema()
    if rows * len(schema) > MOST_CELLS:
        return f"a sample of {rows:,} rows of {len(schema):,} columns is more than {MOST_CELLS:,} values"
    for name, dtype in schema.items():
        if dtype.is_nested():
            return f"column '{name}' of the sample is of type {dtype}"
        values = column(name)
        size = {pl.String: values.str.len_bytes(), pl.Binary: values.bin.size()}.get(type(dtype))
        # One text can be repeated at no cost until somebody writes it out.
        if size is not None and scan.select(size.cast(pl.UInt64).sum()).collect().item() > MOST_TEXT:
            return f"the texts of column '{name}' take more than {MOST_TEXT:,} bytes"
    return ""


def _dialect_as_plain(how: Dialect) -> dict[str, Any]:
    return {**asdict(how), "categorical": list(how.categorical), "null": list(how.null)}


def _json(plain: Any) -> bytes:
    return json.dumps(plain, allow_nan=False, ensure_ascii=False).encode()


def _parsed(file: Sealed, name: str, kind: type | tuple[type, ...]) -> Any:
    try:
        plain = json.loads(file.read(name, _LARGEST[name]), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise file.damaged(f"{name} is no JSON: {error}") from error
    if not isinstance(plain, kind):
        raise file.damaged(f"{name} holds something else")
    return plain


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")


# What each plain value has to be -------------------------------------------------

Check = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _one_of(*words: str) -> Check:
    return lambda value: isinstance(value, str) and value in words


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


_MANIFEST: Mapping[str, Check] = {
    "format": lambda value: value == FORMAT,
    "created": _is_text,
    "steelyard_version": _is_text,
    "target": _is_text,
    "proba": _are_texts,
    "prediction": _or_none(_is_text),
    "positive": lambda value: value is None or isinstance(value, (str, int, float)),
    "exclude": _are_texts,
    "seed": _is_count,
    "rows": _is_count,
    "unlabelled": _is_count,
    "unknown": _is_count,
    "sample_rows": _is_count,
    "sample_columns": _are_texts,
    "dialect": _is_mapping,
}
_DIALECT: Mapping[str, Check] = {
    "task": _or_none(_one_of("classification", "regression")),
    "categorical": _are_texts,
    "null": _are_texts,
    "decimal": _one_of(".", ","),
}
_COLUMN: Mapping[str, Check] = {
    "name": _is_text,
    "kind": _one_of("number", "category", "date", "text", "absent"),
    "role": _one_of("feature", "target", "output", "dropped"),
    "missing": _is_share,
    "distinct": _or_none(_is_count),
    "issues": _are_texts,
    "profile": _or_none(_is_mapping),
    "finding": _or_none(_is_mapping),
}
_FINDING: Mapping[str, Check] = {
    "id": _is_text,
    "severity": _one_of("info", "warning", "error"),
    "text": _is_text,
}


def _typed(plain: Any, checks: Mapping[str, Check]) -> dict[str, Any]:
    """Return a mapping of exactly these keys, each with a value that passes its check."""
    if not isinstance(plain, dict) or set(plain) != set(checks):
        raise ValueError(f"{', '.join(checks)} were expected")
    wrong = [key for key, check in checks.items() if not check(plain[key])]
    if wrong:
        raise ValueError(f"{', '.join(wrong)} cannot be so")
    return dict(plain)
