"""The words for what an audit can be: kinds of shift, severities, advice, trust and metrics, and safe text.

One table a thing, for the page, the terminal and whoever writes a sentence about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from steelyard.losses.metric_facts import METRIC_FACTS


@dataclass(frozen=True)
class Kind:
    """What is said of one kind of shift.

    Attributes
    ----------
    label : str
        Its name, to stand alone.
    meaning : str
        What has happened, as a clause.
    assumption : str
        What figures for LIVE rest on then, in sentences.
    basis : str
        The same as a clause behind the method of an estimate.
    """

    label: str
    meaning: str
    assumption: str
    basis: str


KINDS: Mapping[str, Kind] = {
    "none": Kind(
        label="No shift found",
        meaning="no difference between TRAIN and LIVE was found",
        assumption=(
            "What cannot be seen without live labels has not changed either: the outcomes given the inputs."
        ),
        basis="no shift was found",
    ),
    "covariate": Kind(
        label="The columns moved",
        meaning="the columns moved",
        assumption=(
            "Rows with the same inputs have the same outcomes on LIVE as on TRAIN. "
            "Without live labels this cannot be tested; if it fails, the estimates for LIVE fail with it."
        ),
        basis="assumes that the relation of target and features holds",
    ),
    "label": Kind(
        label="Label shift",
        meaning="the mix of outcomes has moved (label shift)",
        assumption=(
            "Rows with the same outcome have the same inputs on LIVE as on TRAIN: "
            "only the mix of outcomes moved. "
            "Without live labels this can be tested in part only."
        ),
        basis="assumes that only the classes' shares changed",
    ),
    "both": Kind(
        label="Covariate and label shift",
        meaning="the mix of inputs and the mix of outcomes have both moved",
        assumption=(
            "The inputs and the mix of outcomes moved, and nothing else: "
            "what the inputs say about the outcome is otherwise the same on LIVE as on TRAIN."
        ),
        basis="assumes that the classes' shares and a few columns changed",
    ),
    "concept": Kind(
        label="Concept shift",
        meaning="the relation between the inputs and the outcome has changed (concept shift)",
        assumption=(
            "The relation between inputs and outcome has changed, "
            "so weights alone cannot carry TRAIN over to LIVE. "
            "Figures for LIVE rest on the live labels."
        ),
        basis="assumes that the relation of target and features holds, which LIVE's labels refute",
    ),
    "cannot tell": Kind(
        label="Cannot tell",
        meaning="the data cannot tell which kind of shift it is",
        assumption=(
            "The kind of shift is not known, so an estimate for LIVE, if there is one, "
            "holds under its own method's assumption only."
        ),
        basis=(
            "the value assumes that the relation of target and features holds, the interval "
            "covers a change of the classes' shares as well"
        ),
    ),
}

RELATION: Mapping[str, str] = {
    "environments": "it moved as it did between the values of {column} in TRAIN",
    "time": "it moved as it did over {column} in TRAIN",
    "record": "it moved as relations usually do between populations",
}
"""On what the wider interval rests, as a clause behind an "if"."""

READINGS: Mapping[str, str] = {
    "none": "Nothing moved: neither the columns nor the relation of target and columns.",
    "columns": "The columns moved, and the relation of target and columns holds.",
    "classes": "The shares of the classes moved, and the columns in each class are as they were.",
    "target": "The law of the target moved, and that of the columns given the target is as it was.",
    "classes and columns": "The shares of the classes moved and a few columns besides, and the rest of the "
    "columns in each class is as it was.",
}
"""What each reading of a shift takes to be so."""

SEVERITIES: Mapping[str, str] = {"error": "Error", "warning": "Warning", "info": "Note"}
"""The gravest first."""

TRUST: Mapping[str, str] = {"not used": "None were used", "yes": "Yes", "with care": "With care", "no": "No"}
"""Answers to whether the weights can be trusted."""

FINDINGS: Mapping[str, str] = {
    "backtest-inconclusive": "TRAIN's environments could not be estimated from each other",
    "backtest-may-know-train": "the backtest may use an output that has seen TRAIN",
    "broken-relation": "a relation between columns that holds in all of TRAIN does not in LIVE",
    "category-spelling": "a category is spelled differently in LIVE",
    "class-spelling": "a class is spelled in another case",
    "concept-shift": "labels show that the relation of target and columns changed",
    "constant-column": "a column has one value in TRAIN",
    "constant-in-live": "a column that varies in TRAIN has one value in LIVE",
    "dates-as-text": "how dates that are texts were read",
    "disjoint-range": "no value of LIVE lies within TRAIN's range",
    "duplicate-rows": "rows occur more than once",
    "empty-column": "a column has no value",
    "estimates-withheld": "no performance is given for LIVE",
    "exchanged-columns": "two columns of LIVE are in each other's place",
    "exchanged-values": "values of a column stand for one another in LIVE",
    "extra-column": "LIVE has columns that TRAIN lacks",
    "filled-in": "one value was filled in for missing ones",
    "free-text": "a column is free text",
    "heavy-tail": "a few rows carry much of the weight",
    "identifier": "a column identifies rows",
    "inconclusive-few-rows": "the weighted TRAIN is worth too few rows",
    "inconclusive-heavy-tail": "the weights' mean may not exist",
    "inconclusive-overlap": "much of LIVE lies where TRAIN has no rows",
    "index-column": "an index of pandas was left out",
    "labels-unused": "LIVE holds the target, which was not looked at",
    "less-balanced": "weighting moved a column away from LIVE",
    "looks-like-dates": "nearly all texts of a column read as dates",
    "looks-like-numbers": "nearly all texts of a column read as numbers",
    "missing-jump": "missing values became much more or less common",
    "missing-target": "rows of TRAIN have no target",
    "mixed-offsets": "times have several offsets from UTC",
    "mixed-units": "a part of a column is in another unit",
    "model-made-here": "no model was given, so one was made",
    "model-may-know-train": "the model's output on TRAIN looks fitted to it",
    "new-category": "LIVE has categories that TRAIN lacks",
    "numbers-as-text": "numbers are written as text",
    "one-value": "a column has one value, or none",
    "output-order": "which probability column was taken for which class",
    "output-upside-down": "the model's output ranks TRAIN the wrong way round",
    "partly-uncovered": "part of LIVE lies where TRAIN has no rows",
    "period-marker": "a column only tells when a row was made",
    "profile": "TRAIN is a profile",
    "rare-class": "a class has few rows",
    "rare-class-left-out": "a class is too rare to be weighed",
    "recoded-category": "a column has another coding in LIVE",
    "rescaled-column": "a column is on another scale in one table",
    "reversed-column": "a number runs the other way in LIVE",
    "sampled": "models saw a sample of the rows",
    "sentinel-value": "a number stands for a missing value",
    "shared-rows": "rows occur in both tables",
    "shift-kind": "what kind of shift fits the tables",
    "sign-flip": "a column's sign was flipped",
    "target-leak": "a column gives the target away",
    "task": "how the target was read",
    "time-beyond": "LIVE lies farther from TRAIN in time than any stretch that was tested",
    "time-order": "LIVE does not simply come after TRAIN",
    "type-change": "a column is of two types",
    "unbounded-predictions": "prediction intervals without an end, or sets of every class",
    "unit-change": "a column is in another unit",
    "unread-values": "values could not be read",
    "weights-held": "weights were held at the largest that is believed",
}
"""What each finding, known by its id, tells."""

ADVICE: Mapping[str, str] = {
    "mend data": "mend a fault of the data",
    "label": "label rows of LIVE",
    "wait": "rely on no figure yet",
    "use labels": "go by LIVE's labels",
    "retrain": "train anew, without weights",
    "retrain weighted": "train anew, with the weights",
    "recalibrate": "recalibrate the model's probabilities",
    "keep": "keep the model, and expect the estimate",
    "nothing": "do nothing",
    "no weighting": "do not weight the training",
    "labels noisy": "what wrong labels in TRAIN mean for training",
}
"""What advice of each kind comes to."""


def short(text: object, length: int = 60) -> str:
    """Make any text safe to show in one line: no control characters, at most ``length`` long.

    Column names and categories come from files, and may hold terminal escapes,
    direction overrides or a whole page of text.

    Examples
    --------
    >>> short("a very long name", 10)
    'a very lo…'
    """
    clean = "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in str(text))
    return clean if len(clean) <= length else clean[: length - 1].rstrip() + "…"


def metric_name(key: str) -> str:
    """Return a metric's name as it stands inside a sentence."""
    return METRIC_FACTS[key].title if key in METRIC_FACTS else short(key.replace("_", " "), 40)


def title(text: str) -> str:
    """Return the text with a capital first letter, the rest as it is."""
    return text[:1].upper() + text[1:]


def higher_is_better(key: str) -> bool | None:
    """Return whether more of this metric is better, or None where that is not known."""
    return METRIC_FACTS[key].greater_is_better if key in METRIC_FACTS else None


def sentence(text: str) -> str:
    """Return the text ended by a full stop, unless it ends in one already."""
    text = text.strip()
    return text if text.endswith((".", "!", "?", "…")) else text + "."
