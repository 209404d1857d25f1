"""The page: what it shows, and what it never holds."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from steelyard.auditing.result import Finding
from steelyard.reporting import render_html
from steelyard.reporting.verdict import verdict
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
        "LIVE differs from TRAIN (AUC 0.713 [0.703, 0.724]): the columns moved. "
        "The model's accuracy there is estimated at 0.791, down from 0.832 in training: 0.778 to 0.805 if "
        "the relation of target and columns holds, which only labels can tell, 0.758 to 0.821 if it moved as "
        "it did between the values of 'region' in TRAIN."
    )
    order = [answer, "What to do: Retrain with the weights", "90.3%", "How the data differ", "The weights,"]
    order += ["How good the model is", "Why it changed", "Predictions that hold there", "Findings"]
    order += ["What this rests on", "How it was run"]
    places = [words.index(part) for part in order]
    assert places == sorted(places)


def test_no_shift_and_arrived_labels_are_said_in_words() -> None:
    assert "No difference between TRAIN and LIVE was found" in render_html(no_shift().to_dict())
    assert "not clearly different from 0.832 in training" in verdict(no_shift().to_dict()).text
    arrived = labels_arrived()
    assert "give 0.788, inside the interval" in verdict(arrived.to_dict()).text
    far = replace(arrived, performance=(replace(arrived.performance[0], live_actual=0.7),))
    assert "give 0.700, outside the interval" in verdict(far.to_dict()).text


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
    assert (
        '<circle class="solid"' not in html.split("How good the model is on LIVE")[1].split("</section>")[0]
    )


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


def test_rows_that_were_weighed_are_those_of_the_weights_and_unmeasured_ones_are_no_fault() -> None:
    audit = binary().to_dict()
    audit["rows"]["train"] = 10_000_000
    audit["weights"] |= {"ess": 34_500.0, "ess_fraction": 0.69}
    assert "of 50,000 rows" in render_html(audit)
    audit["weights"] |= {"ess": None, "ess_fraction": None}
    assert "of 10,000,000 rows" in render_html(audit)
