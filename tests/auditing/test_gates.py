"""Gates, as a build meets them: what they judge, and that one which cannot apply costs no audit."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import steelyard
from steelyard.auditing.gate import Condition, Gate
from steelyard.errors import InputError
from steelyard.reporting.words import FINDINGS
from tests.command_line import invoke


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two tables of numbers whose relation moved, so that labels measure what no estimate shows."""
    here = tmp_path_factory.mktemp("gates")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 300))
    train = pl.DataFrame({"x": x[0], "y": x[0] + 0.1 * rng.normal(size=300)})
    live = pl.DataFrame({"x": x[1], "y": x[1] + 1.0 + 0.1 * rng.normal(size=300)})
    train.write_csv(here / "train.csv")
    live.drop("x").write_csv(here / "labels.csv")
    live.drop("y").write_csv(here / "live.csv")
    return here


def _audit(folder: Path, *words: str):
    return invoke(
        "audit", str(folder / "train.csv"), str(folder / "live.csv"), "--target", "y", "--metric", "mae",
        "--out", str(folder / "out"), "--quiet", *words,
    )  # fmt: skip


@pytest.fixture(scope="module")
def labelled(folder):
    return steelyard.audit(
        folder / "train.csv", folder / "live.csv", target="y", metrics=["mae"], labels=folder / "labels.csv"
    )


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("mae>0.5", 1),
        ("mae.measured>0.5", 1),
        ("mae.estimate>0.5", 0),
        ("mae.high>0.5", 0),
        ("mae.low<0.5", 1),
        ("mae.drift_low<0.5", 1),
        ("mae.drift_high>9", 0),
        ("finding:concept-shift", 1),
        ("finding:unit-change", 0),
    ],
)
def test_a_metric_is_what_labels_measured_and_a_part_says_which(labelled, condition: str, code: int) -> None:
    gate = Gate.judge([Condition.parse(condition)], labelled)
    assert gate.exit_code == code, gate.reasons


def test_the_build_fails_on_what_labels_measured(folder) -> None:
    done = _audit(folder, "--labels", str(folder / "labels.csv"), "--fail-on", "mae>0.5")
    assert done.exit_code == 1
    assert "mae>0.5 is met (mae = 1" in done.stderr
    assert _audit(folder, "--fail-on", "mae>0.5").exit_code == 0


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("auc<0.8", "does not have; it has mae, rmse, r2"),
        ("mae.measured>0.4", "add --labels"),
        ("mae.upper>0.4", "mae.high"),
        ("finding:unit-chnage", "did you mean unit-change"),
        ("finding:nonsense-xyz", "names no finding"),
    ],
)
def test_a_condition_that_cannot_apply_is_refused_before_the_work(folder, condition: str, words: str) -> None:
    done = _audit(folder, "--fail-on", condition, "--fail-on", "mae>0")
    assert done.exit_code == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    with pytest.raises(InputError, match="condition"):
        steelyard.audit(
            folder / "train.csv", folder / "live.csv", target="y", metrics=["mae"], fail_on=condition
        )


def test_every_finding_can_be_named() -> None:
    said = set()
    for path in Path(steelyard.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Finding", "Concern"):
                ids = node.args[:1] or [k.value for k in node.keywords if k.arg == "id"]
                said |= {n.value for n in ast.walk(ids[0]) if isinstance(n, ast.Constant)} if ids else set()
    words = {word for word in said if isinstance(word, str)}
    # One id ends in what a column looks like, and stands in the code without that end.
    begun = tuple(word for word in words if word.endswith("-"))
    assert {word for word in words if "-" in word and word not in begun} <= set(FINDINGS)
    assert [id for id in FINDINGS if id not in words and not id.startswith(begun)] == []
