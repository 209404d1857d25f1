"""The tables of words: every kind that a record can hold has its words, and nothing else has."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

import pytest

import steelyard.reporting
from steelyard.auditing.result import AdviceKind, Severity, ShiftKind, Trust
from steelyard.evaluation import METRICS
from steelyard.losses.metric_facts import METRIC_FACTS
from steelyard.reporting.words import ADVICE, KINDS, SEVERITIES, TRUST, higher_is_better, metric_name

ROOM = Path(steelyard.reporting.__file__).parent
DOCS = Path(__file__).parents[2] / "docs" / "audit-json.md"


@pytest.mark.parametrize(
    ("table", "kinds"), [(KINDS, ShiftKind), (SEVERITIES, Severity), (TRUST, Trust), (ADVICE, AdviceKind)]
)
def test_a_table_has_the_kinds_of_the_record(table: dict[str, object], kinds: object) -> None:
    assert set(table) == set(get_args(kinds))


def test_the_documentation_says_what_each_kind_of_advice_comes_to() -> None:
    text = DOCS.read_text("utf-8")
    assert not [kind for kind, words in ADVICE.items() if f"`{kind}` ({words})" not in text]


def test_metrics_have_their_facts_from_one_table() -> None:
    assert list(METRICS) == list(METRIC_FACTS)
    for name, metric in METRICS.items():
        facts = METRIC_FACTS[name]
        assert (metric.kind, metric.greater_is_better) == (facts.kind, facts.greater_is_better)
        assert metric_name(name) == facts.title
    assert higher_is_better("a metric of another's") is None


@pytest.mark.parametrize("path", sorted(ROOM.glob("*.py")), ids=lambda p: p.name)
def test_nothing_is_read_out_of_ids_or_methods(path: Path) -> None:
    """What a record says in words may change; what a program goes by is a field."""
    called = {
        node.func.attr
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert "startswith" not in called
