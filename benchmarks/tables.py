"""Markdown out of results: who was faster, leaner, more accurate, and where steelyard loses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.measure import OURS, QUIET, Machine, Result

Better = Literal["low", "high", "none"]


@dataclass(frozen=True)
class Column:
    """A figure of the table: its title, how to get it from a result, and which way is better."""

    title: str
    of: Callable[[Result], float | None]
    better: Better = "low"
    show: str = "{:.4g}"


def answered(title: str, key: str, *, better: Better = "low", show: str = "{:.4f}") -> Column:
    """Return a column that takes a number from the competitor's answer."""
    return Column(title, lambda result: result.answer.get(key), better, show)


COST = (
    Column("seconds", lambda r: r.seconds, show="{:.3g}"),
    Column("whole process, s", lambda r: r.wall, show="{:.3g}"),
    Column("peak memory, MB", lambda r: None if r.peak is None else r.peak / 1e6, show="{:.0f}"),
)


def table(
    results: Sequence[Result], *, figures: Sequence[Column] = (), head: str = "", ours: str = OURS
) -> str:
    """Return a table: a row a competitor, bold where best; seconds with their range and ratio to ours.

    Parameters
    ----------
    results : sequence of Result
    figures : sequence of Column
        Accuracy or whatever else the answers hold, after time and memory.
    head : str
        Above the names.
    ours : str
        The name that the ratio is taken to.
    """
    columns = [*COST, *figures]
    own = next((r for r in results if r.name == ours), None)
    best = {c.title: best_of(c, results) for c in columns}
    titles = [head, "seconds (range)", f"times {ours}", *(c.title for c in columns[1:])]
    lines = [_line(titles), "|---" * len(titles) + "|"]
    for result in results:
        if result.failure:
            lines.append(
                _line([result.name, f"no answer: {_plain(result.failure)}", *[""] * (len(titles) - 2)])
            )
            continue
        cells = [_cell(c, result, best[c.title]) for c in columns]
        if result.low is not None and result.runs > 1:
            cells[0] += f" ({result.low:.3g} to {result.high:.3g})"
        ratio = ""
        if own is not None and own.seconds and result.seconds is not None:
            ratio = f"{result.seconds / own.seconds:.2f}"
        lines.append(_line([result.name, cells[0], ratio, *cells[1:]]))
    return "\n".join(lines)


def best_of(column: Column, results: Sequence[Result]) -> float | None:
    """Return the best value of a column; None where none is better than another or one stands alone."""
    values = [v for v in (column.of(r) for r in results if not r.failure) if v is not None]
    if column.better == "none" or len(values) < 2:
        return None
    return min(values) if column.better == "low" else max(values)


def losses(
    title: str, results: Sequence[Result], *, figures: Sequence[Column] = (), ours: str = OURS
) -> list[str]:
    """Return a sentence for each figure in which a competitor is better than ours.

    A difference that the table does not show (equal when printed) is none. Of seconds whose
    ranges overlap the sentence says so.
    """
    own = next((r for r in results if r.name == ours), None)
    if own is None or own.failure:
        why = "it is not in the table" if own is None else _plain(own.failure or "")
        return [f"{title}: {ours} gave no answer ({why})."]
    said = []
    for column in [*COST, *figures]:
        mine = column.of(own)
        if column.better == "none" or mine is None:
            continue
        for other in results:
            theirs = None if other.failure or other is own else column.of(other)
            if theirs is None or column.show.format(theirs) == column.show.format(mine):
                continue
            if (theirs < mine) is not (column.better == "low"):
                continue
            text = f"{title}, {column.title}: {column.show.format(mine)} against "
            text += f"{column.show.format(theirs)} ({other.name})"
            if column.title == "seconds" and _overlap(own, other):
                text += "; the ranges overlap"
            said.append(text + ".")
    return said


def losing(sentences: Sequence[str]) -> str:
    """Return the closing part of a section."""
    body = "\n".join(f"- {s}" for s in sentences) if sentences else "In nothing that is measured here."
    return f"### Where steelyard loses\n\n{body}"


def setting(
    machine: Machine,
    *,
    versions: Mapping[str, Mapping[str, str]],
    repeats: int | Sequence[int],
    results: Sequence[Result] = (),
) -> str:
    """Return the paragraph that says where and how it was measured, with a warning if others were busy.

    Parameters
    ----------
    machine : Machine
    versions : mapping
        From the name of an environment to its packages' versions.
    repeats : int or sequence of int
        Several where they differ between tables.
    results : sequence of Result
        Of the section; they know how busy the machine was meanwhile.
    """
    times = str(repeats) if isinstance(repeats, int) else " or ".join(map(str, sorted(set(repeats))))
    threads = "one thread" if machine.threads == 1 else f"{machine.threads} threads"
    packages = "; ".join(
        f"{who}: {', '.join(f'{k} {v}' for k, v in own.items())}" for who, own in versions.items()
    )
    load = "" if machine.load is None else f", load average {machine.load:.2f} before starting"
    text = (
        f"Python {machine.python}, {machine.cores} cores ({machine.processor}){load}. Every competitor runs "
        f"in a process of its own with {threads} (`OMP_NUM_THREADS={machine.threads}` and its like), in "
        f"turn ({times} runs each); medians, ranges in brackets. Seconds are those of the work, after "
        f"imports and reading; peak memory is that of the whole process. {packages}."
    )
    seen = [f for f in (machine.foreign, *(r.foreign for r in results)) if f is not None]
    if seen and max(seen) > QUIET:
        text += (
            f"\n\n**The machine was not quiet**: other processes kept up to {max(seen):.1f} cores busy. "
            "Read the seconds as rough."
        )
    return text


def answers(what: Sequence[str], names: Sequence[str], found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a table of what each competitor answered: a row a question, a column a competitor."""
    lines = [_line(["", *names]), "|---" * (len(names) + 1) + "|"]
    for question in what:
        lines.append(_line([question, *(_plain(str(found[n].get(question, ""))) for n in names)]))
    return "\n".join(lines)


def _cell(column: Column, result: Result, best: float | None) -> str:
    value = column.of(result)
    if value is None:
        return ""
    shown = column.show.format(value)
    return f"**{shown}**" if best is not None and shown == column.show.format(best) else shown


def _overlap(a: Result, b: Result) -> bool:
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return False
    return a.low <= b.high and b.low <= a.high


def _plain(text: str) -> str:
    """Return a text that does not break a table's row."""
    return " ".join(text.split()).replace("|", "/")


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
