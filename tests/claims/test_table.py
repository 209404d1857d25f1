"""The catalogue, the check files, the results and the page agree."""

from __future__ import annotations

import json
import re

import pytest

from claims.registry import catalogue, check_files
from claims.runner import RowResult, load_results, merge_results, run_declarations
from claims.table import TABLE, render
from tests.claims.test_verdict import comparison


def test_catalogue_is_whole():
    rows = catalogue()
    assert len(rows) == 706
    assert [row.id for row in rows] == list(range(706))


def test_every_check_file_belongs_to_a_paper_and_declares_it():
    rows = {row.id: row for row in catalogue()}
    for file in check_files():
        assert file.path.stem == f"p{file.id}_{rows[file.id].handle}"
        assert file.declarations()


def test_results_belong_to_the_checks_as_they_stand():
    files = {file.id: file for file in check_files()}
    for number, entry in load_results().items():
        assert entry["file"] == files[number].name
        assert entry["fingerprint"] == files[number].fingerprint, (
            f"{entry['file']} changed; run it again: python -m claims run --id {number}"
        )


def test_page_agrees_with_results():
    text = TABLE.read_text(encoding="utf-8")
    assert text == render(catalogue(), load_results(), check_files()), "run: python -m claims table"


def test_page_lists_every_paper_once_with_its_status():
    rows = catalogue()
    page = render(rows, {}, ())
    listed = re.findall(r"^\| (\d+) \|.*\| (\w+) \|  \|$", page, flags=re.M)
    assert sorted(int(number) for number, _ in listed) == [row.id for row in rows]
    assert {status for _, status in listed} == {"open"}


@pytest.mark.parametrize("shift", [-3.0, 3.0])
def test_page_shows_the_verdict_and_the_interval(shift):
    result = RowResult(417, "claims/x.py", "", 1.23, run_declarations([comparison(shift)]))
    line = next(
        line
        for line in render(catalogue(), {417: result.to_dict()}, ()).splitlines()
        if line.startswith("| 417")
    )
    assert ("| holds |" if shift < 0 else "| contradicted |") in line
    assert "ratio" in line


def test_merge_keeps_other_rows_and_does_not_churn(tmp_path):
    path = tmp_path / "results.json"
    outcomes = run_declarations([comparison(-3.0)])
    merge_results([RowResult(9, "b", "x", 1.0, outcomes)], path)
    merge_results([RowResult(3, "a", "y", 2.0, outcomes)], path)
    before = path.read_text(encoding="utf-8")
    assert [entry["id"] for entry in json.loads(before)] == [3, 9]
    merge_results([RowResult(9, "b", "x", 7.7, outcomes)], path)
    assert path.read_text(encoding="utf-8") == before
