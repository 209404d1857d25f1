"""The pure parts of the benchmarks: what is measured, how it is judged, where it is written."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    mean_absolute_error,
    roc_auc_score,
    root_mean_squared_error,
)

from benchmarks.__main__ import main as command_line
from benchmarks.__main__ import split
from benchmarks.document import with_section
from benchmarks.environments import CACHE_VARIABLE, Environment, cache_directory, process_variables
from benchmarks.label_free.baselines import carry_over, importance_weighting
from benchmarks.label_free.case import Case, labels_from, numbers_from, whole_windows
from benchmarks.label_free.measure import measured, noise_floor
from benchmarks.label_free.score import Record, rows_of, summary
from benchmarks.label_free.table import render
from benchmarks.measure import Competitor, Machine, Result, Run, race, run_once, summarise
from benchmarks.tables import Column, answered, losing, losses, setting, table
from benchmarks.whole_audit.questions import MOVED, splits
from benchmarks.whole_audit.run import counted
from benchmarks.whole_audit.table import render as whole_audit_section


def case_of(
    *,
    n: int = 4000,
    every: int = 1000,
    kind: str = "classification",
    output: np.ndarray | None = None,
    **more,
) -> Case:
    rng = np.random.default_rng(3)
    x, x_live = rng.standard_normal(n), rng.standard_normal(n) + 0.7
    p, p_live = (1 / (1 + np.exp(-z)) for z in (x, x_live))
    y, y_live = ((rng.random(n) < q).astype(float) for q in (p, p_live))
    fields = {
        "name": "a",
        "row": "a",
        "kind": kind,
        "train": pl.DataFrame({"x": x, "y": y, "output": p}),
        "live": pl.DataFrame({"x": x_live, "output": p_live if output is None else output}),
        "target": "y",
        "truth": y_live,
        "every": every,
        "features": ("x",),
        "draw": labels_from(p_live),
    }
    return Case(**{**fields, **more})


def test_metrics_agree_with_scikit_learn_ties_included():
    rng = np.random.default_rng(0)
    output = np.round(rng.random(400), 1)
    labels = (rng.random((5, 400)) < 0.3).astype(float)
    for metric, oracle in (
        ("accuracy", lambda y: accuracy_score(y, output >= 0.5)),
        ("f1", lambda y: f1_score(y, output >= 0.5)),
        ("auc", lambda y: roc_auc_score(y, output)),
        ("mae", lambda y: mean_absolute_error(y, output)),
        ("rmse", lambda y: root_mean_squared_error(y, output)),
    ):
        np.testing.assert_allclose(measured(metric, labels, output), [oracle(y) for y in labels], rtol=1e-12)


def test_the_noise_floor_of_accuracy_is_the_binomial_one():
    # Every row is predicted 1 and right with probability 0.8; a normal has mean |z| sqrt(2/pi) sd.
    n = 1000
    case = case_of(n=n, output=np.full(n, 0.9), draw=labels_from(np.full(n, 0.8)))
    expected = np.sqrt(2 / np.pi) * np.sqrt(0.16 / n)
    # 300 draws give a standard deviation to within 1/sqrt(600), 4%; four of those.
    assert noise_floor(case, slice(0, n), "accuracy", np.random.default_rng(1)) == pytest.approx(
        expected, rel=0.16
    )


def test_the_noise_floor_of_the_mean_error_of_a_number():
    n = 1000
    case = case_of(
        n=n, kind="regression", output=np.zeros(n), draw=numbers_from(np.zeros(n), np.full(n, 2.0))
    )
    # The folded normal has variance sd^2 (1 - 2/pi).
    expected = np.sqrt(2 / np.pi) * 2 * np.sqrt((1 - 2 / np.pi) / n)
    floor = noise_floor(case, slice(0, n), "mae", np.random.default_rng(1))
    assert floor == pytest.approx(expected, rel=0.16)
    # Without a law, rows are drawn again; these rows' errors are draws of the same folded normal.
    truth = 2.0 * norm.ppf((np.arange(n) + 0.5) / n)
    again = noise_floor(
        case_of(n=n, kind="regression", output=np.zeros(n), truth=truth, draw=None),
        slice(0, n),
        "mae",
        np.random.default_rng(1),
    )
    assert again == pytest.approx(expected, rel=0.16)


def test_windows_are_whole_and_a_short_table_is_one():
    rows, every = whole_windows(pl.DataFrame({"x": range(23)}), 5)
    assert (rows.height, every) == (20, 5)
    rows, every = whole_windows(pl.DataFrame({"x": range(23)}), 5, most=2)
    assert (rows.height, every) == (10, 5)
    rows, every = whole_windows(pl.DataFrame({"x": range(3)}), 5)
    assert (rows.height, every) == (3, 3)
    assert [(w.start, w.stop) for w in case_of(n=4000, every=1000).windows] == [
        (0, 1000),
        (1000, 2000),
        (2000, 3000),
        (3000, 4000),
    ]


def test_methods_do_not_see_the_labels():
    case = case_of().unlabelled()
    assert case.truth.size == 0
    assert case.draw is None
    assert set(case.live.columns) == {"x", "output"}


def test_carry_over_and_weighting_know_the_direction_of_the_shift():
    case = case_of(every=4000)
    naive, weighted = carry_over(case)[0], importance_weighting(case)[0]
    actual = measured("f1", case.truth[None, :], case.live["output"].to_numpy())[0]
    # The target has more positives, so F1 rises; the shift is plain (0.7 sd), so half the gap is a low bar.
    assert actual > naive["f1"] + 0.05
    assert abs(weighted["f1"] - actual) < 0.5 * abs(naive["f1"] - actual)


def record(
    ours: float | None, theirs: float, *, case: str = "a", window: int = 0, actual: float = 0.5
) -> Record:
    interval = (None, None) if ours is None else (ours - 0.1, ours + 0.1)
    estimates = {"steelyard": ours, "CBPE": theirs, "importance weighting": 0.8, "carried over": 0.9}
    return Record(case, "row", window, "accuracy", actual, 0.01, *interval, estimates)


def test_verdicts_follow_the_paired_differences():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.001, 12)
    better = summary([record(0.51, 0.55 + e) for e in noise])
    assert (better["verdict"], better["best"]) == ("better", "CBPE")
    assert better["difference"] == pytest.approx(-0.04 - noise.mean())
    assert better["se"] == pytest.approx(noise.std(ddof=1) / np.sqrt(12))
    assert better["held"] == 1.0
    assert summary([record(0.55 + e, 0.51) for e in noise])["verdict"] == "worse"
    assert summary([record(0.51 + e, 0.51 - e) for e in noise])["verdict"] == "same"


def test_the_best_other_is_chosen_where_ours_answered():
    rows = [record(None, 0.9), record(0.515, 0.51, window=1)]
    found = summary(rows)
    assert (found["windows"], found["answered"], found["best"]) == (2, 1, "CBPE")
    assert found["errors"]["steelyard"] == pytest.approx(0.015)
    assert found["errors"]["CBPE"] == pytest.approx((0.4 + 0.01) / 2)
    # One window has no standard error: 0.005 is not beyond the floor of 0.01.
    assert (found["se"], found["verdict"]) == (None, "same")
    assert summary([record(None, 0.9)])["verdict"] == "inconclusive"


def test_pooled_rows_count_cases_not_windows():
    many = [record(0.51, 0.53, case=c, window=k) for c in "ab" for k in range(9)]
    many += [record(0.55, 0.52, case="c", window=k) for k in range(9)]
    pooled = next(r for r in rows_of(many, pooled="all") if r["row"] == "all")
    gaps = np.array([-0.02, -0.02, 0.03])
    assert pooled["difference"] == pytest.approx(gaps.mean())
    assert pooled["errors"]["steelyard"] == pytest.approx((0.01 + 0.01 + 0.05) / 3)
    assert pooled["se"] == pytest.approx(gaps.std(ddof=1) / np.sqrt(3))


def test_sections_are_replaced_and_added():
    text = with_section("", "a", "first")
    text = with_section(text, "b", "second")
    again = with_section(text, "a", "third")
    assert "first" not in again
    assert again.index("third") < again.index("second")
    assert with_section(again, "a", "third") == again


def test_the_tables_show_losses_and_refusals():
    rows = [
        {"row": "r", "metric": "accuracy", **summary([record(0.6 + e, 0.51) for e in (0.01, 0.011, 0.012)])},
        {"row": "s", "metric": "auc", **summary([record(None, 0.6)])},
    ]
    notes = {
        "r": {"shift": {"none": 1}},
        "s": {"shift": {"cannot tell": 1}, "inconclusive": {"s": "No overlap."}},
    }
    setup = {"python": "3", "processes": 2, "ours": {"steelyard": "0"}, "peers": {"nannyml": "0"}}
    text = render({"setup": setup, "tasks": {"acs_years": {"rows": rows, "notes": notes, "failures": {}}}})
    assert "| 0 of 1 |" in text
    assert "No overlap." in text
    assert "r, accuracy: 0.1110 against 0.0100 (CBPE)" in text


def test_environments_live_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    peer = Environment("peer", ("pip",))
    assert cache_directory() == tmp_path
    assert peer.directory == tmp_path / "envs" / "peer"
    assert peer.versions() is None


SLEEPER = """
import json, sys, time
job = json.load(open(sys.argv[1]))
started = time.perf_counter()
time.sleep(job["sleep"])
block = bytearray(job["bytes"])
for k in range(0, len(block), 4096):
    block[k] = 1
json.dump({"seconds": time.perf_counter() - started, "error": job["error"]}, open(sys.argv[2], "w"))
"""
MEGABYTE = 1_000_000


def script_of(folder: Path, text: str) -> Path:
    path = folder / "script.py"
    path.write_text(text)
    return path


def test_a_script_that_sleeps_and_allocates_is_measured_so(tmp_path):
    script = script_of(tmp_path, SLEEPER)
    large = bytearray(400 * MEGABYTE)  # this process's own memory must not be taken for the script's
    for k in range(0, len(large), 4096):
        large[k] = 1
    plain = run_once(Competitor("plain", script, {"sleep": 0.3, "bytes": 0, "error": 1.0}))
    heavy = run_once(Competitor("heavy", script, {"sleep": 0.3, "bytes": 200 * MEGABYTE, "error": 1.0}))
    # The sleep is a lower bound; a busy machine adds to it, seldom over two seconds.
    assert 0.3 <= plain.seconds < 2.3
    assert plain.seconds < plain.wall
    # An interpreter takes 10 to 20 MB, give or take pages; the difference is what was allocated.
    assert plain.peak < 60 * MEGABYTE
    assert heavy.peak - plain.peak == pytest.approx(200 * MEGABYTE, abs=5 * MEGABYTE)
    assert heavy.answer == {"error": 1.0}
    assert len(large) == 400 * MEGABYTE


def test_failures_and_timeouts_are_shown_and_not_repeated(tmp_path):
    good = Competitor("steelyard", script_of(tmp_path, SLEEPER), {"sleep": 0, "bytes": 0, "error": 0.1})
    (tmp_path / "sub").mkdir()
    bad = Competitor("bad", script_of(tmp_path / "sub", "raise SystemExit('no | overlap')"), {})
    late = Competitor("late", good.script, {"sleep": 60, "bytes": 0, "error": 0.1}, timeout=0.5)
    runs = race([good, bad, late], repeats=2)
    assert [len(runs[name]) for name in ("steelyard", "bad", "late")] == [2, 1, 1]
    results = [summarise(name, mine) for name, mine in runs.items()]
    assert (results[0].runs, results[0].failure) == (2, None)
    text = table(results)
    assert "no answer: exit code 1: no / overlap" in text
    assert "no answer: not done within 0.5 s" in text
    assert losses("t", results) == []
    assert losses("t", [Result("steelyard", failure="x")]) == ["t: steelyard gave no answer (x)."]


def test_everybody_gets_the_same_threads_and_nothing_reports_home(tmp_path):
    script = script_of(
        tmp_path,
        "import json, os, sys; json.dump({'seconds': 0, **os.environ}, open(sys.argv[2], 'w'))",
    )
    said = run_once(Competitor("a", script, {}), threads=3).answer
    assert {said[v] for v in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")} == {"3"}
    assert (said["NML_DISABLE_USAGE_LOGGING"], said["DO_NOT_TRACK"]) == ("1", "1")
    assert "PYTHONPATH" not in process_variables(1)


def timed(name: str, *seconds: float, peak: float = 1e8, error: float = 0.1) -> Result:
    runs = [Run(s, s + 1, int(peak), {"error": error}, None, 0.0) for s in seconds]
    return summarise(name, runs)


def test_tables_are_bold_where_best_and_losses_are_sentences():
    results = [timed("steelyard", 2.0, 3.0, 2.5), timed("peer", 1.0, 1.25, 5.0, peak=5e7, error=0.2)]
    error = answered("error", "error")
    text = table(results, figures=[error], head="100 rows")
    assert "| steelyard | 2.5 (2 to 3) | 1.00 | 3.5 | 100 | **0.1000** |" in text
    assert "| peer | **1.25** (1 to 5) | 0.50 | **2.25** | **50** | 0.2000 |" in text
    found = losses("t", results, figures=[error])
    assert found[0] == "t, seconds: 2.5 against 1.25 (peer); the ranges overlap."
    assert [f.split(":")[0] for f in found[1:]] == ["t, whole process, s", "t, peak memory, MB"]
    assert "In nothing that is measured here." in losing([])


def test_higher_can_be_better_and_what_prints_alike_is_no_loss():
    power = Column("power", lambda r: r.answer["error"], "high", "{:.2f}")
    results = [timed("steelyard", 1.0, error=0.901), timed("peer", 1.0, error=0.902)]
    assert losses("t", results, figures=[power]) == []
    assert table(results, figures=[power]).count("**0.90**") == 2
    results[1] = timed("peer", 1.0, error=0.95)
    assert losses("t", results, figures=[power]) == ["t, power: 0.90 against 0.95 (peer)."]


def test_the_setting_warns_of_a_busy_machine():
    quiet = Machine("3.11", "cpu", 2, 0.1, 0.02, 1)
    versions = {"steelyard": {"numpy": "2"}, "peer": {"peer": "1"}}
    text = setting(quiet, versions=versions, repeats=3)
    assert "one thread" in text
    assert "peer: peer 1" in text
    assert "not quiet" not in text
    busy = Result("peer", foreign=1.4)
    assert "up to 1.4 cores busy" in setting(quiet, versions=versions, repeats=3, results=[busy])


def test_the_command_line_knows_names_and_options():
    assert split(["a", "b", "--quick", "x"]) == (["a", "b"], ["--quick", "x"])
    assert split([]) == ([], [])
    assert command_line(["unheard_of"]) == 2


def audit_results() -> dict:
    said = {"accuracy": 0.8, "error": 0.01, "report": 50_000, "answered": {"kind of shift": "covariate"}}
    ours = Result(
        "steelyard", 3, 4.0, 3.9, 4.2, 5.0, 3e8, {**said, "steps": {"shift": 3.0, "read": 0.1}}, None
    )
    peer = Result("NannyML", 3, 8.0, 7.0, 9.0, 9.0, 4e8, {**said, "error": 0.005, "answered": {}}, None)
    broken = Result("Evidently", 1, failure="exit code 1: ImportError")
    machine = Machine("3.11", "cpu", 2, 0.1, 0.0, 1)
    part = {"kind": "audit", "title": "Census", "rows": (10, 20), "columns": 3}
    alarms = {
        "steelyard": {"false": 0.0, "found": 0.5, "any": 1.0, "joint": {"the audit": 1.0}},
        "NannyML": {"false": 0.2, "found": 0.9, "any": 1.0, "joint": {"domain classifier": 0.0}},
        "Evidently": {"failure": "exit code 1"},
    }
    return {
        "machine": asdict(machine),
        "versions": {"steelyard": {"numpy": "2"}},
        "repeats": [3, 5],
        "parts": [{**part, "results": [asdict(r) for r in (ours, peer, broken)]}],
        "alarms": [{"move": 0.1, "results": alarms}],
        "pairs": {"count": 4, "rows": [100, 50]},
    }


def test_the_section_on_whole_audits_survives_the_file_and_names_losses():
    stored = audit_results()
    text = whole_audit_section(stored)
    assert text == whole_audit_section(json.loads(json.dumps(stored)))
    assert "| Evidently | no answer: exit code 1: ImportError |" in text
    assert "in its first run: shift 3.0, read 0.1." in text
    assert "| kind of shift | covariate |  |" in text
    assert "error of the estimated accuracy: 0.0100 against 0.0050 (NannyML)." in text
    assert "moved by 0.1: 50% against 90% (NannyML, which flags 20% of those that stayed)." in text
    assert "False alarms when" not in text


def test_flags_are_counted_among_the_columns_that_stayed_and_that_moved():
    pairs = [{"columns": ["a", "b"], "joint": {"t": True}}, {"columns": ["a"], "joint": {"t": False}}]
    found = counted(pairs, ["a", "b", "c"], {"a", "c"})
    assert found == {"false": 0.5, "found": 0.5, "any": 1.0, "joint": {"t": 0.5}}
    assert counted(pairs, ["a", "b", "c"], set())["found"] is None


def test_the_pairs_move_as_they_say(tmp_path):
    job = splits(tmp_path, move=0.3, count=1, rows=(40_000, 40_000))
    reference, live = (pl.read_parquet(path) for path in job["pairs"][0])
    # Standard errors at 40,000 rows a side: 0.007 of a mean's difference, 0.003 of a share's.
    for name in job["numbers"]:
        moved = live[name].mean() - reference[name].mean()
        assert moved == pytest.approx(0.3 if name in MOVED else 0.0, abs=0.03)
    for name in job["categories"]:
        moved = (live[name] == "0").mean() - (reference[name] == "0").mean()
        assert moved == pytest.approx(0.15 if name in MOVED else 0.0, abs=0.014)
    assert "y" in reference.columns
    assert "y" not in live.columns


def test_a_changed_requirement_asks_for_a_new_environment(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    peer = Environment("peer", ())
    peer.python.parent.mkdir(parents=True)
    peer.python.symlink_to(sys.executable)
    assert peer.versions() == {}
    (peer.directory / "requirements.txt").write_text("pip>=0\n")
    assert peer.versions() is None
