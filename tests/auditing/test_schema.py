"""``audit.json`` holds to its schema, the schema to the records, and the documentation to both."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.auditing.example_audit import VARIANTS, labels_arrived

SCHEMA = json.loads(files("steelyard.auditing").joinpath("audit.schema.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
DOCS = Path(__file__).parents[2] / "docs" / "audit-json.md"

# Written out by hand from the promise made to users, not taken from the code.
TOP_LEVEL = (
    "schema_version steelyard_version seed rows data shift weights performance windows "
    "attribution prediction advice findings seconds"
).split()
NESTED = {
    "rows": "train live",
    "shift": "kind auc p_value detectable_auc features readings",
    "reading": "name assumes",
    "weights": "method ess ess_fraction pareto_k max_share outside_support balance trust trust_reason",
    "performance": "metric naive live_estimate low high method live_actual",
    "window": "start end rows performance",
    "attribution": "metric total parts unexplained",
    "part": "name change low high",
    "prediction": (
        "alpha kind expected_coverage low high unweighted_expected_coverage mean_size live_actual_coverage"
    ),
    "advice": "action why kind",
    "finding": "id severity text step declines explains mend columns",
    "feature": "name effect p_adjusted",
    "interval": "value low high",
}


def _objects(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Yield every object inside a JSON value with the path to it; of a list only the first entry."""
    if isinstance(value, dict):
        yield path, value
        for key, child in value.items():
            yield from _objects(child, (*path, key))
    elif isinstance(value, list) and value:
        yield from _objects(value[0], (*path, 0))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def _full() -> dict[str, Any]:
    """Return an audit with every optional part present."""
    audit = labels_arrived().to_dict()
    audit["windows"] = [{"start": "0", "end": "9", "rows": 10, "performance": audit["performance"]}]
    return json.loads(json.dumps(audit))


def test_the_schema_is_itself_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_kind_of_audit_validates(name: str) -> None:
    text = json.dumps(VARIANTS[name]().to_dict(), allow_nan=False)
    VALIDATOR.validate(json.loads(text))


def test_top_level_keys_are_those_promised() -> None:
    assert list(SCHEMA["properties"]) == TOP_LEVEL
    assert list(_full()) == TOP_LEVEL


@pytest.mark.parametrize("name", NESTED)
def test_nested_keys_are_those_promised(name: str) -> None:
    schema = SCHEMA["properties"][name] if name == "rows" else SCHEMA["$defs"][name]
    assert list(schema["properties"]) == NESTED[name].split()


@pytest.mark.parametrize("path", [p for p, _ in _objects(_full()) if p != ("seconds",)], ids=str)
def test_a_key_more_or_less_fails(path: tuple[Any, ...]) -> None:
    audit = _full()
    VALIDATOR.validate(audit)
    for key in _at(audit, path):
        less = copy.deepcopy(audit)
        del _at(less, path)[key]
        assert not VALIDATOR.is_valid(less), f"{path} without {key}"
    _at(audit, path)["surplus"] = 1
    assert not VALIDATOR.is_valid(audit)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("seed",), 0.5),
        (("shift", "kind"), "drift"),
        (("shift", "p_value"), 1.5),
        (("findings", 0, "severity"), "fatal"),
        (("prediction", "alpha"), 0),
        (("prediction", "alpha"), None),
        (("rows", "live"), None),
        (("performance", 0, "metric"), None),
        (("seconds", "read"), None),
        (("schema_version",), "1"),
        (("shift", "readings", 0, "name"), "covariate"),
        (("weights", "trust"), "perhaps"),
        (("advice", 0, "kind"), "pray"),
        (("findings", 0, "step"), "advise"),
        (("findings", 0, "declines"), None),
    ],
)
def test_a_wrong_value_fails(path: tuple[Any, ...], value: Any) -> None:
    audit = _full()
    _at(audit, path[:-1])[path[-1]] = value
    assert not VALIDATOR.is_valid(audit)


def test_what_is_not_finite_is_null() -> None:
    from dataclasses import replace

    base = labels_arrived()
    assert base.prediction is not None
    result = replace(base, prediction=replace(base.prediction, mean_size=float("inf")))
    audit = result.to_dict()
    assert audit["prediction"]["mean_size"] is None
    VALIDATOR.validate(audit)


def test_the_documentation_has_every_key_in_its_section() -> None:
    sections = re.split(r"^##+ ", DOCS.read_text("utf-8"), flags=re.MULTILINE)
    headed = {re.sub(r"[`\[\]]", "", s.splitlines()[0]).split(":")[0].strip(): s for s in sections[1:]}
    homes = {
        "Top level": SCHEMA["properties"],
        "rows": SCHEMA["properties"]["rows"]["properties"],
        "data": SCHEMA["$defs"]["column"]["properties"],
        "shift": SCHEMA["$defs"]["shift"]["properties"] | SCHEMA["$defs"]["interval"]["properties"],
        "shift.features": SCHEMA["$defs"]["feature"]["properties"],
        "shift.readings": SCHEMA["$defs"]["reading"]["properties"],
        "weights": SCHEMA["$defs"]["weights"]["properties"],
        "weights.balance": SCHEMA["$defs"]["balance"]["properties"],
        "performance": SCHEMA["$defs"]["performance"]["properties"],
        "windows": SCHEMA["$defs"]["window"]["properties"],
        "attribution": SCHEMA["$defs"]["attribution"]["properties"],
        "attribution.parts": SCHEMA["$defs"]["part"]["properties"],
        "prediction": SCHEMA["$defs"]["prediction"]["properties"],
        "advice": SCHEMA["$defs"]["advice"]["properties"],
        "findings": SCHEMA["$defs"]["finding"]["properties"],
    }
    assert set(headed) == set(homes)
    missing = {home: [key for key in keys if f"`{key}`" not in headed[home]] for home, keys in homes.items()}
    assert not {home: keys for home, keys in missing.items() if keys}
    # And nothing documented that is not there: the first cell of each row is a key.
    for home, keys in homes.items():
        rows = re.findall(r"^\| `([a-z_]+)` \|", headed[home], flags=re.MULTILINE)
        assert set(rows) <= set(keys), home
