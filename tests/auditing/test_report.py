"""The page and the files: what they show, what they never hold, and that they appear whole or not at all."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from steelyard.auditing.report import FILES, render_html, save
from steelyard.auditing.reporting import figures, wording
from steelyard.auditing.reporting.figures import Mark, Scale
from steelyard.auditing.result import AuditResult, Finding
from tests.auditing.example_audit import VARIANTS, binary, inconclusive, labels_arrived, no_shift, wide

_VOID = {
    "meta",
    "br",
    "img",
    "link",
    "input",
    "hr",
    "rect",
    "line",
    "circle",
    "path",
    "polygon",
    "polyline",
    "wbr",
}
_FETCHES = {"src", "href", "srcset", "action", "data", "poster", "background", "xlink:href", "style"}


class _Page(HTMLParser):
    """Reads a page as a browser would, checks that tags close, keeps tags, attributes and visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.css: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.css if self.open and self.open[-1] == "style" else self.text).append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module", params=VARIANTS)
def html(request: pytest.FixtureRequest) -> str:
    return render_html(VARIANTS[request.param]().to_dict())


def test_the_page_is_well_formed_and_loads_nothing(html: str) -> None:
    page = _Page(html)
    assert not [
        t for t, _ in page.tags if t in {"script", "img", "iframe", "link", "object", "embed", "base"}
    ]
    for tag, attributes in page.tags:
        assert not [a for a in attributes if a.startswith("on")], tag
        for name in _FETCHES & attributes.keys():
            assert (attributes[name] or "").startswith("#"), (tag, name)
    css = " ".join(page.css)
    assert not re.search(r"url\(|@import|https?:|expression\(", css)
    assert "http" not in " ".join(
        str(v) for t, a in page.tags if t != "svg" for k, v in a.items() if k in _FETCHES
    )


def test_every_drawing_has_a_text_alternative(html: str) -> None:
    inside_image = re.sub(r'<div class="plot" role="img" aria-label="[^"]+">.*?</div>', "", html, flags=re.S)
    for tag in re.findall(r"<svg\b[^>]*>", inside_image):
        assert (
            'aria-hidden="true"' in tag
            or re.search(r'role="img" aria-label="[^"]+"', tag)
            or 'class="at"' in tag
        )


def test_colours_come_from_the_page_alone(html: str) -> None:
    """Dark mode and print can only be readable if no drawing brings a colour of its own."""
    assert not re.search(r'\b(?:fill|stroke|color)="', html)


def test_no_number_has_six_figures() -> None:
    for name in ("binary", "labels_arrived", "regression_windows", "multiclass", "no_shift", "inconclusive"):
        words = _Page(render_html(VARIANTS[name]().to_dict())).words
        for number in re.findall(r"\d[\d,]*\.?\d*", words):
            figures_shown = number.replace(",", "").replace(".", "").strip("0")
            assert len(figures_shown) < 6, number


def test_it_is_rendered_from_the_json_alone() -> None:
    for make in VARIANTS.values():
        audit = make().to_dict()
        assert render_html(json.loads(json.dumps(audit))) == render_html(audit)


def test_the_answer_comes_first() -> None:
    words = _Page(render_html(binary().to_dict())).words
    answer = (
        "LIVE differs from TRAIN (AUC 0.713 [0.703, 0.724]): the mix of inputs has moved (covariate shift). "
        "The model's accuracy there is estimated at 0.791 [0.778, 0.805], down from 0.832 in training."
    )
    order = [answer, "What to do: Retrain with the weights", "90.3%", "How the data differ", "The weights,"]
    order += ["How good the model is", "Why it changed", "Predictions that hold there", "Findings"]
    order += ["What this rests on", "How it was run"]
    places = [words.index(part) for part in order]
    assert places == sorted(places)


def test_no_shift_and_arrived_labels_are_said_in_words() -> None:
    assert "No difference between TRAIN and LIVE was found" in render_html(no_shift().to_dict())
    assert "not clearly different from 0.832 in training" in wording.verdict(no_shift().to_dict()).text
    arrived = labels_arrived()
    assert "give 0.788, inside the interval" in wording.verdict(arrived.to_dict()).text
    far = replace(arrived, performance=(replace(arrived.performance[0], live_actual=0.7),))
    assert "give 0.700, outside the interval" in wording.verdict(far.to_dict()).text


def test_what_is_inconclusive_shows_no_number_in_its_place() -> None:
    html = render_html(inconclusive().to_dict())
    tiles = re.findall(
        r'<div class="tile( open)?"><dt>(.*?)</dt>\s*<dd class="big">(.*?)</dd>', html, flags=re.S
    )
    shown = {label: (bool(is_open), value) for is_open, label, value in tiles}
    assert shown["Accuracy on LIVE, estimated"] == (True, "Inconclusive")
    assert shown["Coverage of prediction sets there"] == (True, "Inconclusive")
    assert "0.997" in shown["Can LIVE be told from TRAIN?"][1]
    words = _Page(html).words
    assert "training figures below do not carry over" in words
    assert "in training." not in words.split("What to do:")[0]
    assert '<circle class="solid"' not in html.split("How good the model is on LIVE")[1].split("Findings")[0]


def test_long_lists_are_cut_and_say_so() -> None:
    words = _Page(render_html(wide(200).to_dict())).words
    assert words.count("… and 185 more columns, all of them in audit.json.") == 2
    assert "1,960 earlier ones are in audit.json" in words
    assert "185 further parts together" in words
    assert "… and 160 more" in words


def test_the_page_stays_small_at_any_size() -> None:
    result = wide(3000)
    long = "x" * 100_000
    result = replace(result, findings=tuple(Finding(f.id, "error", long) for f in result.findings))
    assert len(render_html(result.to_dict()).encode()) < 2_000_000


def test_hostile_names_stay_text() -> None:
    html = render_html(VARIANTS["hostile"]().to_dict())
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert "{{ 7 * 7 }}" in html


def test_severity_is_a_word() -> None:
    assert re.search(r'<b class="warning">Warning</b>', render_html(binary().to_dict()))
    assert re.search(r'<b class="error">Error</b>', render_html(inconclusive().to_dict()))


# --- numbers -----------------------------------------------------------------------------------


@given(st.floats(-1e8, 1e8), st.integers(-3, 4))
def test_a_number_reads_back_within_half_a_unit(value: float, digits: int) -> None:
    text = wording.number(value, digits)
    assert abs(float(text.replace(",", "")) - value) <= 0.5 * 10.0**-digits * (1 + 1e-9)
    assert not re.fullmatch(r"-0\.?0*", text)


@given(st.floats(1e-6, 1e6), st.floats(0.001, 0.9))
def test_an_interval_keeps_its_ends_apart(value: float, share: float) -> None:
    low, high = value * (1 - share), value * (1 + share)
    assume(high - low > 0.004)  # three decimals cannot tell ends apart that are nearer
    digits = wording.decimals([value], low, high)
    assert wording.number(low, digits) != wording.number(high, digits)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_round_and_inside(low: float, span: float) -> None:
    assume(span > 1e-6 * abs(low))  # otherwise the ticks' own rounding shows
    scale = Scale(low, low + span)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 5
    slack = 1e-6 * span
    assert all(low - slack <= t <= low + span + slack for t in ticks)
    if len(ticks) > 1:
        mantissa = (ticks[1] - ticks[0]) / 10 ** math.floor(math.log10(ticks[1] - ticks[0]) + 1e-6)
        assert any(math.isclose(mantissa, m, rel_tol=1e-4) for m in (1, 2, 5))


# --- drawings: read the values back from the positions ------------------------------------------


def test_a_bar_starts_at_zero_and_ends_at_the_value() -> None:
    scale = Scale(-0.05, 0.15)
    svg = figures.bar(scale, -0.03, "age", low=-0.04, high=0.01)
    match = re.search(r'class="bar" x="([\d.]+)%" y="5" width="([\d.]+)%"', svg)
    assert match
    left, width = (float(g) for g in match.groups())
    assert (left, left + width) == pytest.approx((10.0, 25.0), abs=0.01)  # (-0.03 and 0 + 0.05) / 0.2
    assert [float(x) for x in re.findall(r'class="whisker" x1="([\d.]+)%"', svg)[1:]] == pytest.approx(
        [5.0, 30.0]
    )


def test_a_dot_stands_at_its_value_and_its_band_at_the_interval() -> None:
    svg = figures.dots(
        Scale(0.0, 2.0), [Mark(1.5, "solid", 1.0, 1.8), Mark(None, "hollow"), Mark(0.5, "diamond")], "m"
    )
    assert 'class="solid" cx="75.00%"' in svg
    assert 'class="band" x="50.00%" y="7" width="40.00%"' in svg
    assert "hollow" not in svg
    assert '<svg x="25.00%"' in svg


def test_a_line_breaks_where_a_window_is_inconclusive() -> None:
    marks = [
        Mark(v, "solid", v - 1, v + 1) if v else Mark(None) for v in (5.0, 6.0, None, 7.0, 8.0, None, 9.0)
    ]
    svg = figures.line(marks, "m", reference=5.5)
    assert svg.count("<polyline") == 2
    assert svg.count('class="gap"') == 2
    assert svg.count('class="solid"') == 5
    points = re.findall(r'<polyline class="line" points="([^"]+)"', svg)[0].split()
    scale = Scale.around([4.0, 10.0])
    heights = [100 - float(p.split(",")[1]) for p in points]
    assert heights == pytest.approx([scale.at(5.0), scale.at(6.0)], abs=0.01)


# --- files ---------------------------------------------------------------------------------------


def _without(table: str, result: AuditResult) -> AuditResult:
    return replace(result, row_tables={k: v for k, v in result.row_tables.items() if k != table})


def test_save_writes_the_four_files(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    result = binary()
    out = save(result, tmp_path / "a" / "report")
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
    save(binary(), tmp_path)
    (tmp_path / "mine.txt").write_text("mine")
    save(replace(inconclusive(), row_tables={}), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["audit.json", "mine.txt", "report.html"]
    assert "Inconclusive" in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.parametrize("failing", range(1, 8))
def test_a_failed_move_puts_everything_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    save(binary(), tmp_path)
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
        save(_without("weights", labels_arrived()), tmp_path)  # one file fewer than before
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


_FULL_DISK = """
import resource, sys
from pathlib import Path
from steelyard.auditing.report import save
from tests.auditing.example_audit import binary
result = binary()
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # the page fits, the weights do not
try:
    save(result, Path(sys.argv[1]))
except OSError:
    sys.exit(7)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes to run into")
@pytest.mark.parametrize("existing", [False, True])
def test_a_disk_that_runs_full_leaves_nothing_behind(tmp_path: Path, existing: bool) -> None:
    out = tmp_path / "new" / "report"
    if existing:
        save(no_shift(), out)
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
        save(binary(), tmp_path / "taken")
    with pytest.raises(OSError):
        save(binary(), tmp_path / "taken" / "below")
    assert (tmp_path / "taken").read_text() == "a file"
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_the_result_saves_and_shows_itself(tmp_path: Path) -> None:
    result: AuditResult = labels_arrived()
    assert result.save(tmp_path / "r") == tmp_path / "r"
    assert pl.read_parquet(tmp_path / "r" / "weights.parquet").height == result.rows["train"]
    assert result._repr_html_() == render_html(result.to_dict())
