"""CSV: how its text is cut into fields, and which of them are missing or numbers, before types are told."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl

from steelyard.auditing.reading.dialect import MISSING_WORDS, Dialect
from steelyard.auditing.reading.names import column, repeated_fault
from steelyard.auditing.reading.places import FORMATS
from steelyard.auditing.reading.tidy import words_and_numbers

_BOM = b"\xef\xbb\xbf"
_HEAD = 1 << 20
_LONGEST_HEADER = 1 << 24
_LINES = 100
_SEPARATORS = ",;\t|"
_INFER_ROWS = 10_000
# 1.234,56 and 12,5, but not 0.125: no group of thousands begins with a zero.
_COMMA_NUMBER = r"^[+-]?((\d+|[1-9]\d{0,2}(\.\d{3})+)(,\d*)?|,\d+)([eE][+-]?\d+)?$"
_MOST_DIGITS = 18


@dataclass(frozen=True)
class Layout:
    """How a CSV file is cut into fields; ``numbers`` are columns with commas as decimal signs."""

    file: Path
    separator: str
    end: str
    header: tuple[str, ...]
    null_values: tuple[str, ...] = ()
    numbers: dict[str, bool] = field(default_factory=dict)

    def scan(self, infer_rows: int | None, *, typed: bool = True) -> pl.LazyFrame:
        """Return the table, its types told from so many rows, or as texts."""
        # Polars leaves the doubled quotes in a header as they are written.
        written = {name: name.replace('"', '""') for name in self.header}
        overrides: Any = {written.get(name, name): pl.String for name in self.numbers} or None
        scan = pl.scan_csv(
            self.file,
            separator=self.separator,
            eol_char=self.end,
            infer_schema=typed,
            infer_schema_length=infer_rows,
            null_values=list(self.null_values) or None,
            schema_overrides=overrides,
            glob=False,
        )
        doubled = {raw: name for name, raw in written.items() if raw != name}
        scan = scan.rename(doubled, strict=False) if doubled else scan
        if not self.numbers:
            return scan
        return scan.with_columns(_comma_number(name, whole=not cut) for name, cut in self.numbers.items())


def layout(
    file: Path, where: str, faults: list[str], dialect: Dialect, *, tabs: bool = False
) -> Layout | None:
    """Return how a file is to be read; None, and why in ``faults``, if it cannot be.

    Parameters
    ----------
    file : Path
        Not compressed.
    where : str
        Names it in a message.
    faults : list of str
        Whatever is wrong is appended here.
    dialect : Dialect
        Its words for a missing value and its decimal sign are looked for in all of the file.
    tabs : bool
        Whether the name says that tabs separate the fields.
    """
    head = _head(file)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        faults.append(f"{where} is encoded as UTF-16; convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)")
        return None
    if b"\x00" in head:
        faults.append(f"{where} is not a text table (it holds binary data); give {FORMATS}")
        return None
    head = head.removeprefix(_BOM)
    # Files of old systems end their lines with a carriage return alone.
    end = "\r" if b"\n" not in head and b"\r" in head else "\n"
    first = head.split(end.encode(), 1)[0]
    if len(first) >= _LONGEST_HEADER:
        faults.append(
            f"{where} has a first line of more than {_LONGEST_HEADER >> 20} MB; give a table with a header"
        )
        return None
    try:
        first.decode("utf-8")
    except UnicodeDecodeError:
        faults.append(encoding_fault(where, 1))
        return None
    separator = (
        "\t"
        if tabs
        else separator_of(
            head.decode("utf-8", errors="ignore"), end, dialect, whole=len(head) < _HEAD - len(_BOM)
        )
    )
    header = _header(head, separator, end)
    # Polars renames a repeated column without a word, so the header is read here too.
    fault = repeated_fault(where, header)
    if fault is not None:
        faults.append(fault)
        return None
    plain = Layout(file, separator, end, header)
    return _surveyed(plain, dialect) if dialect.null or dialect.decimal == "," else plain


def typed_scans(plan: Layout) -> Iterator[tuple[pl.LazyFrame, bool]]:
    """Yield the table with types told from its first rows, then from all; and whether it is the last try.

    A later row may need a wider type than the first ones show.
    """
    yield plan.scan(_INFER_ROWS), False
    yield plan.scan(None), True


def separator_of(text: str, end: str, dialect: Dialect, *, whole: bool = True) -> str:
    """Tell the separator by which all of the first lines have as many fields as the header.

    ``whole`` tells that the text is all of the file, whose last line is not cut.

    Examples
    --------
    >>> from steelyard.auditing.reading.dialect import PLAIN
    >>> separator_of("id;price, net\\n1;2\\n", "\\n", PLAIN)
    ';'
    """
    # What stands in quotes separates nothing.
    bare = re.sub(r'(^|[,;\t|\r\n])"(?:[^"]|"")*"', r"\1", text)
    lines = [line for line in bare.split(end) if line.strip()]
    lines = (lines if whole or len(lines) < 2 else lines[:-1])[:_LINES]
    if not lines:
        return ","
    counts = {sign: [line.count(sign) for line in lines] for sign in _SEPARATORS}
    steady = [sign for sign, found in counts.items() if found[0] and len(set(found)) == 1]
    if dialect.decimal == ",":
        steady = [sign for sign in steady if sign != ","] or steady
    if steady and len(lines) > 1:
        return max(steady, key=lambda sign: (counts[sign][0], -_SEPARATORS.index(sign)))
    # The header alone tells less: a comma, unless it has none.
    return max(_SEPARATORS, key=lambda sign: (sign == "," and counts[sign][0] > 0, counts[sign][0]))


def _head(file: Path) -> bytes:
    """Return the beginning of a file, with all of its first line unless that has no end."""
    with file.open("rb") as handle:
        head = handle.read(_HEAD)
        while b"\n" not in head and b"\r" not in head and len(head) < _LONGEST_HEADER:
            more = handle.read(_HEAD)
            if not more:
                break
            head += more
    return head


def _header(head: bytes, separator: str, end: str) -> tuple[str, ...]:
    try:
        row = pl.read_csv(
            BytesIO(head),
            separator=separator,
            eol_char=end,
            has_header=False,
            n_rows=1,
            infer_schema=False,
            encoding="utf8-lossy",
            truncate_ragged_lines=True,
        ).rows()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return ()  # the scan says what is wrong
    return tuple("" if name is None else str(name) for name in row[0]) if row else ()


def _surveyed(plan: Layout, dialect: Dialect) -> Layout:
    """Look through all texts for the spellings of missing values, and for columns of numbers with commas."""
    raw = plan.scan(0, typed=False)
    names = raw.collect_schema().names()
    words, numbers = words_and_numbers(dialect.null)
    asked = []
    for i, name in enumerate(names):
        texts = column(name).str.strip_chars()
        missing = pl.any_horizontal(
            pl.lit(False),
            *(texts.str.to_lowercase() == word for word in words),
            *(texts.cast(pl.Float64, strict=False) == number for number in numbers),
        ).fill_null(False)
        known = texts.filter(~(missing | texts.str.to_lowercase().is_in(list(MISSING_WORDS))))
        asked += [
            column(name).filter(missing).unique().implode().alias(f"{i} missing"),
            known.str.contains(_COMMA_NUMBER).all().alias(f"{i} number"),
            known.str.contains(r"[.,]").any().alias(f"{i} signed"),
            (known.str.contains(r"[,eE]") | (known.str.len_chars() > _MOST_DIGITS)).any().alias(f"{i} cut"),
        ]
    found = raw.select(asked).collect().row(0, named=True)
    spellings = Counter(text for i in range(len(names)) for text in found[f"{i} missing"])
    commas = {
        name: bool(found[f"{i} cut"])
        for i, name in enumerate(names)
        if dialect.decimal == "," and found[f"{i} number"] and found[f"{i} signed"]
    }
    return Layout(plan.file, plan.separator, plan.end, plan.header, tuple(sorted(spellings)), commas)


def _comma_number(name: str, *, whole: bool) -> pl.Expr:
    plain = column(name).str.strip_chars().str.replace_all(".", "", literal=True)
    return plain.str.replace(",", ".", literal=True).cast(pl.Int64 if whole else pl.Float64, strict=False)


def bad_line(file: Path) -> int:
    """Return the number of the first line that is not UTF-8."""
    with file.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1


def encoding_fault(where: str, line: int) -> str:
    """Say that a file is not UTF-8, and what to do."""
    return (
        f"{where} is not UTF-8 (line {line}; it is probably Windows-1252 or Latin-1); "
        "convert it to UTF-8, for example with iconv -f WINDOWS-1252 -t UTF-8"
    )
