"""The files: they appear whole or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from steelyard.auditing.result import AuditResult
from steelyard.reporting import render_html, save_report
from steelyard.reporting.files import FILES
from tests.auditing.example_audit import binary, inconclusive, labels_arrived, no_shift


def _save(result: AuditResult, directory: Path) -> Path:
    return save_report(result.to_dict(), result.row_tables, directory)


def _without(table: str, result: AuditResult) -> AuditResult:
    return replace(result, row_tables={k: v for k, v in result.row_tables.items() if k != table})


def test_save_writes_the_four_files(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    result = binary()
    out = _save(result, tmp_path / "a" / "report")
    assert sorted(p.name for p in out.iterdir()) == sorted(FILES)
    assert json.loads((out / "audit.json").read_text("utf-8")) == result.to_dict()
    assert (out / "audit.json").read_text("utf-8").startswith('{\n  "schema_version"')
    assert (out / "report.html").read_text("utf-8") == render_html(result.to_dict())
    weights = pq.read_table(out / "weights.parquet")
    assert [(f.name, str(f.type)) for f in weights.schema] == [("row", "int64"), ("weight", "double")]
    np.testing.assert_array_equal(weights["weight"].to_numpy(), result.row_weights)
    np.testing.assert_array_equal(weights["row"].to_numpy(), np.arange(10_000))
    predictions = pq.read_table(out / "predictions.parquet")
    assert result.row_predictions is not None
    assert predictions.column_names == ["row", *result.row_predictions]
    assert str(predictions.schema.field("set_yes").type) == "bool"
    np.testing.assert_array_equal(predictions["proba_yes"].to_numpy(), result.row_predictions["proba_yes"])
    assert set(predictions["prediction"].to_pylist()) == {"yes", "no"}
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_save_replaces_its_own_files_and_leaves_others(tmp_path: Path) -> None:
    _save(binary(), tmp_path)
    (tmp_path / "mine.txt").write_text("mine")
    _save(replace(inconclusive(), row_tables={}), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["audit.json", "mine.txt", "report.html"]
    assert "Inconclusive" in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.parametrize("failing", range(1, 8))
def test_a_failed_move_puts_everything_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    _save(binary(), tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    moves = 0
    original = Path.replace

    def breaks(self: Path, target: Path) -> Path:
        nonlocal moves
        moves += 1
        if moves == failing:
            raise OSError(5, "Input/output error")
        return original(self, target)

    monkeypatch.setattr(Path, "replace", breaks)
    with pytest.raises(OSError, match="Input/output"):
        _save(_without("weights", labels_arrived()), tmp_path)  # one file fewer than before
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


_FULL_DISK = """
import resource, sys
from pathlib import Path
from steelyard.reporting import save_report
from tests.auditing.example_audit import binary
result = binary()
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # the page fits, the weights do not
try:
    save_report(result.to_dict(), result.row_tables, Path(sys.argv[1]))
except OSError:
    sys.exit(7)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes to run into")
@pytest.mark.parametrize("existing", [False, True])
def test_a_disk_that_runs_full_leaves_nothing_behind(tmp_path: Path, existing: bool) -> None:
    out = tmp_path / "new" / "report"
    if existing:
        _save(no_shift(), out)
    before = {p: p.read_bytes() if p.is_file() else b"" for p in tmp_path.rglob("*")}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(out)], cwd=root, capture_output=True, check=False
    )
    assert done.returncode == 7, done.stderr.decode()
    assert {p: p.read_bytes() if p.is_file() else b"" for p in tmp_path.rglob("*")} == before


def test_a_file_in_the_way_is_an_oserror(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OSError):
        _save(binary(), tmp_path / "taken")
    with pytest.raises(OSError):
        _save(binary(), tmp_path / "taken" / "below")
    assert (tmp_path / "taken").read_text() == "a file"
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_the_result_saves_and_shows_itself(tmp_path: Path) -> None:
    result: AuditResult = labels_arrived()
    assert result.save(tmp_path / "r") == tmp_path / "r"
    assert pl.read_parquet(tmp_path / "r" / "weights.parquet").height == result.rows["train"]
    assert result._repr_html_() == render_html(result.to_dict())
