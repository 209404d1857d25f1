"""The house keeps its rules: imports go downwards, importing is light, and nothing global is touched."""

from __future__ import annotations

import ast
import inspect
import logging
import random
import subprocess
import sys
import warnings
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import steelyard
from steelyard.methods import METHODS

HOUSE = Path(steelyard.__file__).parent

# A room may import from rooms below its own level, and from itself.
LEVELS = {
    **dict.fromkeys(("errors", "methods", "_version"), 0),
    **dict.fromkeys(("numerics", "datasets"), 1),
    **dict.fromkeys(("losses", "divergences", "montecarlo"), 2),
    **dict.fromkeys(
        (
            *("weighting", "selection", "robust", "predictive", "calibration", "causal"),
            *("explain", "online", "neural", "reporting"),
        ),
        3,
    ),
    **dict.fromkeys(("evaluation", "conformal"), 4),
    **dict.fromkeys(("auditing",), 5),
    **dict.fromkeys(("cli", "__main__"), 6),
}
ROOMS = sorted(path.parent.name for path in HOUSE.glob("*/__init__.py"))
MODULES = sorted(path for path in HOUSE.rglob("*.py") if path != HOUSE / "__init__.py")


def _imported(path: Path) -> set[str]:
    """Return the dotted names of all that a file imports, wherever in the file it does so."""
    names: set[str] = set()
    package = ["steelyard", *path.relative_to(HOUSE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def _rooms_used(path: Path) -> set[str]:
    parts = (name.split(".") for name in _imported(path))
    return {p[1] for p in parts if p[0] == "steelyard" and len(p) > 1 and p[1] in LEVELS}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(HOUSE)))
def test_imports_go_downwards(path: Path) -> None:
    own = path.relative_to(HOUSE).parts[0].removesuffix(".py")
    assert own in LEVELS, f"{own} is a new room: give it a level here and in CONTRIBUTING.md"
    for used in _rooms_used(path) - {own}:
        if own == "__main__" and used == "cli":
            continue
        assert LEVELS[used] < LEVELS[own], f"{own} (level {LEVELS[own]}) imports {used} ({LEVELS[used]})"


def test_the_check_of_imports_sees_every_form(tmp_path: Path) -> None:
    file = HOUSE / "weighting" / "imagined.py"
    source = "from ..evaluation import x\ndef f():\n    import steelyard.auditing.read\n"
    tree = tmp_path / "imagined.py"
    tree.write_text(source, encoding="utf-8")

    class Placed(type(file)):
        def read_text(self, *args: object, **kwargs: object) -> str:
            return tree.read_text(encoding="utf-8")

    assert _rooms_used(Placed(file)) == {"evaluation", "auditing"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(HOUSE)))
def test_only_neural_imports_torch(path: Path) -> None:
    if path.relative_to(HOUSE).parts[0] != "neural":
        assert not {name for name in _imported(path) if name.split(".")[0] == "torch"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_s_init_names_its_objects_and_nothing_else(room: str) -> None:
    tree = ast.parse((HOUSE / room / "__init__.py").read_text(encoding="utf-8"))
    doc, *rest = tree.body
    assert isinstance(doc, ast.Expr), f"{room} lacks a docstring"
    for node in rest:
        is_all = isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
        assert isinstance(node, ast.ImportFrom) or is_all


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_resolve_and_are_documented(room: str) -> None:
    module = import_module(f"steelyard.{room}")
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isclass(thing) or callable(thing):
            assert (inspect.getdoc(thing) or "").strip(), f"{room}.{name} has no docstring"
            if inspect.isclass(thing) and thing.__doc__ and thing.__doc__.startswith(f"{name}("):
                pytest.fail(f"{room}.{name} has only the docstring that dataclass writes")


def test_the_package_s_names_resolve() -> None:
    for name in steelyard.__all__:
        assert getattr(steelyard, name) is not None
    for room in ROOMS:
        assert getattr(steelyard, room) is import_module(f"steelyard.{room}")
    with pytest.raises(AttributeError, match="no attribute 'weigthing'"):
        _ = steelyard.weigthing


def test_methods_resolve() -> None:
    keys = [(method.room, method.name) for method in METHODS]
    assert len(set(keys)) == len(keys)
    for method in METHODS:
        assert method.name in import_module(f"steelyard.{method.room}").__all__
        assert method.summary


HEAVY = ("sklearn", "scipy", "polars", "pandas", "matplotlib", "torch", "narwhals", "jinja2")


@pytest.mark.parametrize(
    "code",
    [
        "import steelyard",
        "import steelyard\ndir(steelyard)\nsteelyard.InputError, steelyard.__version__",
        "from steelyard.cli import main\nsys.argv = ['steelyard', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code",
    ],
    ids=["import", "names", "help"],
)
def test_importing_and_help_are_light(code: str) -> None:
    tail = f"\nfound = [m for m in {HEAVY!r} if m in sys.modules]\nassert not found, found"
    done = subprocess.run(
        [sys.executable, "-c", "import sys\n" + code + tail], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _global_state() -> tuple[object, ...]:
    kind, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    root = logging.getLogger()
    return (
        (kind, keys.tobytes(), position, has_gauss, cached),
        random.getstate(),
        list(warnings.filters),
        list(root.handlers),
        root.level,
        np.geterr(),
    )


def test_importing_everything_leaves_no_trace() -> None:
    # In a process of its own, where nothing has been imported yet. The packages that steelyard stands on
    # come first: what they do to the filters is not ours to judge.
    code = """
import importlib, pkgutil, sys
import joblib, matplotlib, narwhals, numpy, polars, rich, scipy.stats, sklearn.ensemble, torch, typer, jinja2
import sklearn.linear_model, sklearn.compose, sklearn.impute, sklearn.pipeline
sys.path.insert(0, {root!r})
from tests.test_architecture import _global_state
before = _global_state()
import steelyard
for info in pkgutil.walk_packages(steelyard.__path__, "steelyard."):
    if not info.name.endswith("__main__"):
        importlib.import_module(info.name)
after = _global_state()
assert before == after, [(a, b) for a, b in zip(before, after) if a != b]
"""
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code.format(root=root)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_an_audit_leaves_no_trace() -> None:
    import polars as pl

    from steelyard.datasets import make_shift

    s = make_shift("covariate", n_source=300, n_target=300, random_state=0)
    train = pl.DataFrame(s.X, schema=list("abcde")).with_columns(y=pl.Series(s.y))
    live = pl.DataFrame(s.X_target, schema=list("abcde"))
    before = _global_state()
    steelyard.audit(train, live, target="y", metrics=["accuracy"])
    assert _global_state() == before


def test_the_page_of_thresholds_states_those_of_the_audit() -> None:
    from steelyard.auditing import limits

    page = (Path(__file__).parents[1] / "docs" / "thresholds.md").read_text(encoding="utf-8")
    stated = {
        cells[1].strip(" `"): float(cells[2])
        for cells in (line.split("|") for line in page.splitlines() if line.startswith("| `"))
    }
    assert stated == {name: value for name, value in vars(limits).items() if name.isupper()}


def test_every_room_has_a_page_of_its_api() -> None:
    pages = {path.stem for path in (Path(__file__).parents[1] / "docs" / "api").glob("*.md")}
    assert set(ROOMS) - {"auditing"} <= pages
