"""Columns of texts on both sides that are dates or numbers, and how they were read in words."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from steelyard.auditing.reading.aligned import Aligned
from steelyard.auditing.reading.dates import IN_WORDS, Chosen, DateEvidence, choose_order, read_dates
from steelyard.auditing.reading.dialect import Dialect
from steelyard.auditing.reading.missing import is_missing_word, trimmed, words_found
from steelyard.auditing.reading.numbers import NumberForm, number_form, read_numbers
from steelyard.auditing.reading.written import Written
from steelyard.auditing.result import Finding

# Texts of digits with more values than this are hardly names.
_MOST_NAMES = 50


def texts_as_dates(name: str, train: pl.Series, live: pl.Series, dialect: Dialect) -> Aligned | None:
    """Return texts of both tables as dates, if they are; a fault if their orders differ."""
    words = dialect.missing_words
    sides = [trimmed(train, words), trimmed(live, words)]
    seen = [DateEvidence.of(side) for side in sides]
    chosen = choose_order(seen)
    if chosen is None:
        if all(side.rows and side.orders for side in seen):
            return Aligned("absent", train, live, fault=_other_order(name, seen))
        return None
    written = Written(words, order=chosen.order)
    read = [read_dates(side, chosen.order) for side in sides]
    told = dates_told(name, chosen, sides[0] if sides[0].null_count() < sides[0].len() else sides[1])
    issues = ("dates written as text",) if told else ()
    return Aligned("date", read[0], read[1], told, issues, written=written)


def dates_told(name: str, chosen: Chosen, texts: pl.Series) -> tuple[Finding, ...]:
    """Say how dates were read, where that is not plain."""
    if not chosen.why:
        return ()
    example = texts.drop_nulls()[0]
    order = IN_WORDS[chosen.order]
    text = f"Column '{name}' holds dates such as '{example}': read with the {order}, {chosen.why}"
    if chosen.ambiguous:
        text += ", though another order would do. If that is wrong, write them as 2024-01-31."
        return (Finding("dates-as-text", "warning", text, columns=(name,)),)
    return (Finding("dates-as-text", "info", f"{text}.", columns=(name,)),)


def _other_order(name: str, sides: Sequence[DateEvidence]) -> str:
    words = [" or ".join(IN_WORDS[order] for order in side.orders) for side in sides]
    return (
        f"column '{name}' holds dates with the {words[0]} in TRAIN and the {words[1]} in LIVE; write both as "
        "2024-01-31, or exclude the column"
    )


def texts_as_numbers(name: str, train: pl.Series, live: pl.Series, dialect: Dialect) -> Aligned | None:
    """Return texts of both tables as numbers, if they are and no names; a fault if they are of two forms."""
    words = dialect.missing_words
    both = pl.concat([train, live])
    form = number_form(both, words, dialect.decimal)
    # Digits behind a zero are codes, such as those of places.
    if both.str.contains(r"^\s*0\d").any():
        return None
    if form is None:
        alone = [number_form(side, words, dialect.decimal) for side in (train, live)]
        clash = all(alone) and not any(one.ambiguous for one in alone if one is not None)
        return Aligned("absent", train, live, fault=_other_form(name, train, live, alone)) if clash else None
    found = words_found(both, words)
    if not (form.marked or found or _no_names(train, live)):
        return None
    read = [read_numbers(side, words, form) for side in (train, live)]
    told = numbers_told(name, form, both, found, dialect)
    issue = "numbers written as text"
    return Aligned("number", read[0], read[1], (told,), (issue,), written=Written(words, form))


def _no_names(*sides: pl.Series) -> bool:
    """Whether texts of digits cannot be names, as nearly every row has another, or many are fractions."""
    distinct = max(side.n_unique() for side in sides)
    if any(side.len() >= 50 and side.n_unique() > 0.95 * side.len() for side in sides):
        return True
    return distinct > _MOST_NAMES and any(bool(side.str.contains(r"\.\d*[1-9]").any()) for side in sides)


def numbers_told(
    name: str, form: NumberForm, texts: pl.Series, found: Sequence[str], dialect: Dialect
) -> Finding:
    """Say how texts were read as numbers."""
    if not form.marked:
        if not found:
            text = (
                f"Column '{name}' holds numbers as texts: read as numbers. If they are names, say so "
                f"(--categorical '{name}')."
            )
            return Finding("numbers-as-text", "info", text, columns=(name,))
        text = (
            f"Column '{name}' holds numbers and {quoted(found)}: read as numbers, those as missing. "
            "Write missing values as empty cells to be sure."
        )
        return Finding("numbers-as-text", "info", text, columns=(name,))
    plain = texts.cast(pl.Float64, strict=False).is_null() & ~is_missing_word(texts, dialect.missing_words)
    shown = texts.filter(plain) if plain.any() else texts.drop_nulls()
    value = read_numbers(shown.head(1), dialect.missing_words, form)[0]
    text = f"Column '{name}' holds numbers such as '{shown[0].strip()}': read as {value:.12g}"
    if found:
        text += f", and {quoted(found)} as missing"
    if form.ambiguous:
        other = "," if form.decimal == "." else "."
        text += f". That may be meant otherwise: --decimal '{other}' reads '{other}' as the decimal sign."
        return Finding("numbers-as-text", "warning", text, columns=(name,))
    return Finding("numbers-as-text", "info", f"{text}.", columns=(name,))


def _other_form(name: str, train: pl.Series, live: pl.Series, forms: Sequence[NumberForm | None]) -> str:
    shown = []
    for side, series, form in zip(("TRAIN", "LIVE"), (train, live), forms):
        texts = series.drop_nulls()
        marked = texts.filter(texts.cast(pl.Float64, strict=False).is_null())
        sign = "" if form is None or form.decimal == "." else " with decimal commas"
        shown.append(f"numbers{sign} in {side} (such as '{(marked if marked.len() else texts)[0]}')")
    return (
        f"column '{name}' holds {shown[0]} and other {shown[1]}; write both in one way or exclude the column"
    )


def quoted(words: Sequence[str]) -> str:
    """Return words for a message."""
    return ", ".join(f"'{word}'" for word in words)
