"""The terminal summary: one screen, whatever the audit says."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from steelyard.auditing.result import Advice, AuditResult, Finding, Part
from steelyard.reporting import summary
from tests.auditing.example_audit import VARIANTS, binary, inconclusive, labels_arrived, multiclass


def _shown(result: AuditResult, *, width: int = 80, colour: bool = False) -> str:
    console = Console(
        width=width,
        file=io.StringIO(),
        color_system="standard" if colour else None,
        force_terminal=True,
        legacy_windows=False,
    )
    console.print(summary(result.to_dict()))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def _fullest() -> AuditResult:
    """Return the audit that fills the most lines: everything there, every text long."""
    base = labels_arrived()
    assert base.attribution is not None
    long = "words that go on " * 40
    return replace(
        base,
        performance=tuple(replace(p, metric=f"metric_{i}") for i in range(3) for p in base.performance),
        attribution=replace(base.attribution, parts=tuple(Part(long, -0.1, None, None) for _ in range(9))),
        advice=tuple(Advice(long, long) for _ in range(5)),
        findings=tuple(Finding(f"inconclusive-{i}", "error", long, declines=True) for i in range(9)),
    )


@pytest.mark.parametrize(
    "result", [*(f() for f in VARIANTS.values()), _fullest()], ids=[*VARIANTS, "fullest"]
)
def test_fits_one_screen(result: AuditResult) -> None:
    lines = _shown(result).rstrip("\n").split("\n")
    assert len(lines) <= 23  # 24, less the line that says where the report is
    assert max(len(line) for line in lines) <= 80


def test_says_the_answer_in_words_and_numbers() -> None:
    text = " ".join(_shown(binary()).split())
    for part in (
        "the columns moved",
        "accuracy there is estimated at 0.791, down from 0.832 in training: 0.778 to 0.805 if",
        "Log loss 0.371 0.442 [0.420, 0.464]",
        "worth 3,412 rows (34% of TRAIN), Pareto k 0.31, 2.1% of LIVE uncovered",
        "accuracy -0.041: age -0.023; hours_per_week, occupation -0.015; schooling +0.004; and 1 more",
        "90.3% [88.9%, 91.6%] (aim 90%), without weights 86.1%",
        "Retrain with the weights",
        "2 warnings, 1 note",
    ):
        assert part in text


def test_measured_figures_show_once_labels_are_there() -> None:
    assert " measured" not in _shown(binary()).split("Weights")[0]
    text = " ".join(_shown(labels_arrived()).split())
    assert "Accuracy 0.832 0.791 [0.778, 0.805] [0.758, 0.821] 0.788" in text
    assert "measured 89.8%" in text


def test_inconclusive_gives_no_number_for_live() -> None:
    text = _shown(inconclusive())
    assert text.startswith("Inconclusive. ")
    for line in text.splitlines():
        if line.startswith(("Accuracy", "AUC", "F1", "Log loss", "Brier")):
            assert line.split()[-1] == "inconclusive"
    assert "inconclusive: no coverage can be stated" in text
    assert "Error: LIVE hardly overlaps TRAIN" in text


def test_partly_inconclusive_says_so_first() -> None:
    assert _shown(multiclass()).startswith("In part inconclusive. ")


def test_severity_does_not_rest_on_colour() -> None:
    plain, coloured = _shown(binary()), _shown(binary(), colour=True)
    assert "\x1b" not in plain
    assert "\x1b" in coloured
    assert "Warning: " in plain


def test_names_cannot_reach_the_terminal() -> None:
    for width in (40, 80, 120):
        text = _shown(VARIANTS["hostile"](), width=width)
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "[bold red]rich markup[/]" in _shown(VARIANTS["hostile"](), width=120)


def test_nothing_is_cut_where_there_is_no_terminal() -> None:
    long = "because of " + "this and that and " * 60 + "the last word"
    result = replace(binary(), advice=tuple(Advice(long, long) for _ in range(2)))
    for width in (80, 10_000):
        console = Console(width=width, file=io.StringIO(), force_terminal=False)
        console.print(summary(result.to_dict()))
        file = console.file
        assert isinstance(file, io.StringIO)
        text = " ".join(file.getvalue().split())
        assert text.count("the last word") == 4
        assert "…" not in text
        assert not [line for line in file.getvalue().splitlines() if len(line) > width]
