"""The page: one file of HTML that holds all it shows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from steelyard.reporting import figures, numbers, page, words


def render_html(audit: Mapping[str, Any]) -> str:
    """Render the report as one self-contained page.

    Parameters
    ----------
    audit : mapping
        The content of ``audit.json``, as from `AuditResult.to_dict`.

    Returns
    -------
    str
        HTML without scripts and without references to anything outside it;
        under 2 MB whatever the audit holds.

    Notes
    -----
    Time and memory do not grow with the data, but for one pass over the lists
    of the audit.

    Examples
    --------
    >>> from steelyard.reporting import render_html
    >>> audit = {
    ...     "schema_version": "2", "steelyard_version": "0.1", "seed": 0, "rows": {"train": 900, "live": 400},
    ...     "data": [], "weights": None, "windows": [], "relation": None, "attribution": None,
    ...     "prediction": None,
    ...     "advice": [], "findings": [], "seconds": {}, "performance": [],
    ...     "shift": {"kind": "none", "auc": {"value": 0.503, "low": 0.491, "high": 0.515}, "p_value": 0.41,
    ...               "detectable_auc": 0.54, "features": [], "readings": []},
    ... }
    >>> "No difference between TRAIN and LIVE was found" in render_html(audit)
    True
    """
    return _environment().get_template("report.html.j2").render(page.view(audit))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("steelyard.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=page.number,
        name=page.name,
        percent=numbers.percent,
        p=numbers.p_value,
        pvalue=lambda p: numbers.p_value(p).removeprefix("p = ").removeprefix("p "),
        capital=words.title,
        metric=lambda key: words.title(words.metric_name(key)),
        metric_inline=words.metric_name,
        short=words.short,
        sentence=words.sentence,
        severity=lambda key: words.SEVERITIES[key],
    )
    environment.globals.update(axis=figures.axis)
    return environment
