"""The report in a real browser: it fits a phone and a desk, loads nothing and runs nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from steelyard.reporting import render_html
from tests.auditing.example_audit import VARIANTS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --virtual-time-budget=4000"
).split()

# A page that holds every report in frames of several widths, so that one start of the browser measures them
# all (a window of its own cannot be narrower than 500 pixels). Scripts are off inside the frames, except in
# those that hold the hostile names, which get every chance to run.
_MEASURE = """
addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument, root = page.documentElement;
    const main = page.querySelector("main");
    const outside = [...page.querySelectorAll("body *")].filter(e => {
      const box = e.getBoundingClientRect();
      return box.width > 0 && box.right > frame.clientWidth + 1 && !e.closest("svg");
    });
    const scrolling = [...page.querySelectorAll(".scroll")].filter(e => e.scrollWidth > e.clientWidth + 1);
    return {
      name: frame.name, width: frame.clientWidth, scrollWidth: root.scrollWidth,
      height: main.getBoundingClientRect().height, outside: outside.map(e => e.outerHTML.slice(0, 80)),
      scrolling: scrolling.map(e => e.innerText.slice(0, 60)),
      title: page.title, scripts: page.scripts.length, images: page.images.length,
      requests: frame.contentWindow.performance.getEntriesByType("resource").length,
      background: frame.contentWindow.getComputedStyle(page.querySelector(".steelyard")).backgroundColor,
      ink: frame.contentWindow.getComputedStyle(page.querySelector(".steelyard")).color,
      dot: frame.contentWindow.getComputedStyle(page.querySelector(".solid") || main).fill,
      shown: page.body.innerText.length,
    };
  });
  document.body.textContent = JSON.stringify({found, owned: window.owned === true});
});
"""


def _run(page: Path, *arguments: str, profile: Path) -> str:
    assert CHROMIUM is not None
    profile.mkdir()
    command = [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}", *arguments, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def _measure(folder: Path, *arguments: str) -> dict[str, dict[str, object]]:
    """Return what the browser measures of every report, by name and width."""
    frames = []
    for name, make in VARIANTS.items():
        content = render_html(make().to_dict())
        for mark in ("&", '"'):
            content = content.replace(mark, {"&": "&amp;", '"': "&quot;"}[mark])
        allowed = "allow-same-origin allow-scripts" if name == "hostile" else "allow-same-origin"
        frames += [
            f'<iframe name="{name} {width}" sandbox="{allowed}" srcdoc="{content}" '
            f'style="width:{width}px;height:900px;border:0"></iframe>'
            for width in (400, 1200)
        ]
    harness = folder / "harness.html"
    alert = "alert = () => { window.owned = true };"
    harness.write_text(f"<!doctype html><script>{alert}{_MEASURE}</script><body>{''.join(frames)}", "utf-8")
    dom = _run(harness, "--dump-dom", *arguments, profile=folder / "profile")
    match = re.search(r"<body>(.*)</body>", dom, flags=re.S)
    assert match, dom[:500]
    measured = json.loads(unescape(match[1]))
    assert measured["owned"] is False
    return {frame["name"]: frame for frame in measured["found"]}


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    return _measure(tmp_path_factory.mktemp("light"), "--blink-settings=preferredColorScheme=1")


@pytest.mark.parametrize("width", [400, 1200])
@pytest.mark.parametrize("name", VARIANTS)
def test_nothing_is_wider_than_the_page(light: dict[str, dict[str, object]], name: str, width: int) -> None:
    page = light[f"{name} {width}"]
    assert page["width"] == width
    assert page["scrollWidth"] <= width  # type: ignore[operator]
    assert page["outside"] == []
    assert page["scrolling"] == []
    assert page["shown"] > 500  # type: ignore[operator]


@pytest.mark.parametrize("name", VARIANTS)
def test_nothing_is_loaded_and_nothing_runs(light: dict[str, dict[str, object]], name: str) -> None:
    page = light[f"{name} 1200"]
    assert page["scripts"] == 0
    assert page["images"] == 0
    assert page["requests"] == 0
    assert str(page["title"]).startswith("Audit of LIVE against TRAIN")


def _luminance(colour: object) -> float:
    red, green, blue = (int(c) / 255 for c in re.findall(r"\d+", str(colour))[:3])
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(a: object, b: object) -> float:
    low, high = sorted((_luminance(a), _luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_light_and_dark_are_both_readable(light: dict[str, dict[str, object]], tmp_path: Path) -> None:
    dark = _measure(tmp_path, "--blink-settings=preferredColorScheme=0")
    for pages in (light, dark):
        page = pages["binary 1200"]
        # WCAG 2: 7 to 1 for text at level AAA, 3 to 1 for the parts of a drawing.
        assert _contrast(page["background"], page["ink"]) >= 7
        assert _contrast(page["background"], page["dot"]) >= 3
    assert _luminance(light["binary 1200"]["background"]) > 0.8
    assert _luminance(dark["binary 1200"]["background"]) < 0.05


def test_it_prints(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(render_html(VARIANTS["regression_windows"]().to_dict()), "utf-8")
    out = tmp_path / "report.pdf"
    _run(page, "--no-pdf-header-footer", f"--print-to-pdf={out}", profile=tmp_path / "profile")
    content = out.read_bytes()
    assert content.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 10
