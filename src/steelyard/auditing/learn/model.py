"""The second step: what the model says of every row, from its columns, its file, or a model made here."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from steelyard.auditing.reading.classes import find_class
from steelyard.auditing.reading.names import only
from steelyard.auditing.result import Finding
from steelyard.auditing.tables import IntArray, ModelOutput, Tables
from steelyard.errors import InputError
from steelyard.evaluation import Outputs
from steelyard.numerics.boosting import BoostedClassifier, BoostedRegressor, boosting_settings
from steelyard.numerics.random import as_generator, by_fold, deal_folds, draw_seed

FloatArray = npt.NDArray[np.float64]


def model_output(tables: Tables, *, model: Any = None, folds: int = 5, random_state: Any = 0) -> ModelOutput:
    """Return the model's output on every row of both tables, and where it comes from.

    Parameters
    ----------
    tables : Tables
        If they hold an output already, that is it.
    model : str, Path or fitted model, optional
        A file that ``joblib`` wrote, or an object with ``predict`` and perhaps ``predict_proba``. It
        gets the columns as read: those it was fitted on by name, else every column in order. A
        joblib file runs code when it is loaded: this is the one place that loads one, and only the
        file that the caller names.
    folds : int, default 5
        Without a model: the folds of a cross-fitted gradient-boosted model. There are fewer if a
        class has fewer rows.
    random_state : int or Generator, default 0
        Deals the folds.

    Raises
    ------
    InputError
        If the model cannot be loaded, lacks columns, fails, or knows other classes.

    Notes
    -----
    Time: one prediction of the model a row, or ``folds`` fits of a boosted model, O(folds n d) each.

    Examples
    --------
    >>> import polars as pl
    >>> from steelyard.auditing.reading.read import read_tables
    >>> x = [float(i % 10) for i in range(200)]
    >>> train = pl.DataFrame({"x": x, "y": [int(value > 4) for value in x]})
    >>> tables = read_tables(train, train.select("x"), target="y")
    >>> output = model_output(tables)
    >>> output.train.proba.shape, float((output.train.label == tables.y).mean())
    ((200, 2), 1.0)
    """
    if tables.given is not None:
        if model is not None:
            raise InputError("both a model and its output were given; give one of them")
        return ModelOutput(tables.given.train, tables.given.live, tables.given.deployed)
    if model is not None:
        return _applied(tables, _loaded(model) if isinstance(model, (str, Path)) else model)
    return _cross_fitted(tables, folds=folds, random_state=random_state)


def _loaded(path: str | Path) -> Any:
    import joblib

    if not Path(path).is_file():
        raise InputError(f"model '{path}' is not a file; give one that joblib.dump wrote")
    try:
        return joblib.load(path)
    except ModuleNotFoundError as error:
        raise InputError(f"model '{path}' needs the package '{error.name}'; install it here") from error
    except Exception as error:
        # Unpickling runs the file's own code, so anything may be raised; all of it means the same here.
        reason = _first_line(error)
        raise InputError(
            f"model '{path}' cannot be loaded ({reason}); save it again with joblib.dump"
        ) from error


def _applied(tables: Tables, model: Any) -> ModelOutput:
    if not hasattr(model, "predict"):
        raise InputError(f"the model is a {type(model).__name__} without predict(); give a fitted model")
    names = tuple(_columns_of(model, tables))
    deployed = Applied(model, names, tables.classes)
    text = (
        "The model was applied to TRAIN as it is. If it was fitted on these rows, its figures there "
        "are too good, "
        "and so is what is carried over; give rows it has not seen, or its out-of-fold output (--proba)."
    )
    found = Finding("model-may-know-train", "warning", text, step="model")
    return ModelOutput(
        deployed.on(tables.frame, "TRAIN"),
        deployed.on(tables.frame_live, "LIVE"),
        deployed,
        findings=(found,),
    )


@dataclass(frozen=True)
class Applied:
    """The caller's model, put to the columns it knows."""

    model: Any
    names: tuple[str, ...]
    classes: tuple[Any, ...] | None

    def __call__(self, frame: pl.DataFrame, X: FloatArray, fold: IntArray, side: str) -> Outputs:
        """Return the model's output on rows."""
        del X, fold
        return self.on(frame, side)

    def on(self, frame: pl.DataFrame, side: str) -> Outputs:
        """Return the model's output on rows of the named table."""
        return _output_of(self.model, self.classes, only(frame, self.names), side)


def _columns_of(model: Any, tables: Tables) -> list[str]:
    """Return the columns to give to the model, by the names or the number it was fitted on."""
    named = getattr(model, "feature_names_in_", None)
    if named is not None:
        names = [str(name) for name in named]
        lacking = [
            f"{side} lacks {', '.join(repr(name) for name in names if name not in frame.columns)}"
            for frame, side in ((tables.frame, "TRAIN"), (tables.frame_live, "LIVE"))
            if not set(names) <= set(frame.columns)
        ]
        if lacking:
            known = {note.name for note in tables.notes if note.role == "feature"}
            extra = sorted(known - set(names))
            also = f" (not known to it: {', '.join(map(repr, extra))})" if extra else ""
            raise InputError(
                f"the model needs columns that are not there: {'; '.join(lacking)}{also}; rename or add them"
            )
        return names
    excluded = set(tables.excluded)
    shared = [
        note.name
        for note in tables.notes
        if note.role in ("feature", "dropped")
        and note.name in tables.frame.columns
        and note.name in tables.frame_live.columns
        and "labels" not in note.issues
    ]
    candidates: list[list[str]] = [
        [name for name in shared if name not in excluded],
        shared,
        [feature.name for feature in tables.features],
    ]
    wanted = getattr(model, "n_features_in_", None)
    if wanted is None:
        return candidates[0]
    for names in candidates:
        if len(names) == wanted:
            return names
    raise InputError(
        f"the model takes {wanted} columns without names, and the tables have {len(candidates[0])} "
        f"({', '.join(candidates[0][:6])}{' ...' if len(candidates[0]) > 6 else ''}); exclude those "
        "it does not know, "
        "or fit it on a data frame so that it knows their names"
    )


def _native(model: Any, frame: pl.DataFrame) -> Any:
    """Return the rows in the form the model was fitted on: a data frame if it knows names, else an array."""
    if getattr(model, "feature_names_in_", None) is None:
        return frame.to_numpy()
    try:
        return frame.to_pandas()
    except ModuleNotFoundError:
        return frame


def _output_of(model: Any, classes: tuple[Any, ...] | None, frame: pl.DataFrame, side: str) -> Outputs:
    rows = _native(model, frame)
    with warnings.catch_warnings():
        # The model's own warnings are not about this audit's input.
        warnings.simplefilter("ignore")
        if classes is None:
            value = np.asarray(_call(model.predict, rows, side))
            if value.dtype.kind not in "iufb":
                raise InputError("the model predicts classes, but the target is a number; give a regressor")
            return Outputs(
                value=_checked(
                    value.reshape(len(rows), -1)[:, 0].astype(np.float64), "predicted numbers", side
                )
            )
        if hasattr(model, "predict_proba"):
            order = _class_order(getattr(model, "classes_", None), classes)
            p = _checked(
                np.asarray(_call(model.predict_proba, rows, side), dtype=np.float64), "probabilities", side
            )
            if p.shape != (len(rows), len(order)) or (p < 0).any() or (p > 1).any():
                raise InputError(
                    f"the model's predict_proba does not give {len(order)} probabilities a row on {side}"
                )
            p = p[:, order]
            return Outputs(proba=p / p.sum(axis=1, keepdims=True)).labelled()
        said = np.asarray(_call(model.predict, rows, side)).reshape(-1)
    return Outputs(label=_codes(said, classes, side))


def _call(method: Any, rows: Any, side: str) -> Any:
    try:
        return method(rows)
    except Exception as error:
        # Whatever a stranger's model raises, it means that it cannot take these rows.
        raise InputError(
            f"the model cannot take the columns of {side}: {_first_line(error)}; "
            "give it a pipeline that prepares raw columns, or the model's output as columns "
            "(--proba, --prediction)"
        ) from error


def _checked(values: FloatArray, what: str, side: str) -> FloatArray:
    bad = ~np.isfinite(values)
    if bad.any():
        raise InputError(
            f"the model's {what} on {side} hold {int(bad.sum())} missing or infinite values; check the model"
        )
    return values


def _class_order(known: Any, classes: tuple[Any, ...]) -> list[int]:
    """Return where each of our classes stands among the model's."""
    if known is None:
        # Without classes_ the only order to go by is the sorted one, as scikit-learn has it.
        known = sorted(classes)
    codes = _match(list(known), classes)
    if len(codes) != len(classes) or None in codes or len(set(codes)) != len(classes):
        ours, theirs = (", ".join(repr(v) for v in list(values)[:6]) for values in (classes, _listed(known)))
        raise InputError(
            f"the model knows the classes {theirs}, but TRAIN's target has {ours}; they must be the same"
        )
    return [codes.index(code) for code in range(len(classes))]


def _codes(said: npt.NDArray[Any], classes: tuple[Any, ...], side: str) -> IntArray:
    distinct, where = np.unique(said, return_inverse=True)
    codes = _match(_listed(distinct), classes)
    if None in codes:
        odd = [repr(value) for value, code in zip(_listed(distinct), codes) if code is None][:5]
        raise InputError(
            f"the model predicts {', '.join(odd)} on {side}, no class of TRAIN's target; give its classifier"
        )
    return np.array(codes, dtype=np.int64)[where]


def _listed(values: Any) -> list[Any]:
    return list(np.asarray(values).tolist())


def _match(values: Sequence[Any], classes: tuple[Any, ...]) -> list[int | None]:
    """Return the index in ``classes`` of each value, by equality or else as labels compare; None if none."""
    found: list[int | None] = []
    for value in values:
        value = value.item() if isinstance(value, np.generic) else value
        same = [
            i for i, c in enumerate(classes) if isinstance(c, str) == isinstance(value, str) and c == value
        ]
        found.append(same[0] if same else find_class(value, classes))
    return found


def _cross_fitted(tables: Tables, *, folds: int, random_state: Any) -> ModelOutput:
    """Fit a boosted model on all folds but one, and take its word for that fold.

    TRAIN's rows get their output from the model that has not seen them. Each row
    of LIVE is dealt at random to one of the same models, instead of getting their
    mean: a mean of models is a better model, and its outputs would differ from
    TRAIN's even where the rows do not. Dealt like this, outputs on both sides come
    from the same models and are exchangeable if nothing shifted.
    """
    rng = as_generator(random_state)
    strata = tables.y if tables.classes is not None else None
    smallest = int(np.unique(tables.y, return_counts=True)[1].min()) if strata is not None else len(tables.y)
    if smallest < 2:
        counts = np.bincount(tables.y.astype(np.int64), minlength=len(tables.classes or ()))
        rare = [repr((tables.classes or ())[k]) for k in np.flatnonzero(counts < 2)]
        raise InputError(
            f"target '{tables.target}' has a class with a single row in TRAIN ({', '.join(rare)}); "
            "no model can be made and tested on it: group it with another, or remove it"
        )
    folds = max(2, min(folds, smallest))
    fold = deal_folds(len(tables.y), folds, rng, strata=strata)
    models = tuple(
        _boosted(tables, draw_seed(rng)).fit(tables.X[fold != k], tables.y[fold != k]) for k in range(folds)
    )
    # LIVE is dealt last, so that the models do not hang on its size.
    fold_live = deal_folds(len(tables.X_live), folds, rng)
    made = CrossFitted(models, tables.n_classes)
    text = (
        f"No model was given: a gradient-boosted one was cross-fitted on TRAIN ({folds} folds). "
        "What is said of performance is said of it."
    )
    found = Finding("model-made-here", "info", text, step="model")
    return ModelOutput(
        made.on(tables.X, fold), made.on(tables.X_live, fold_live), made, made_here=True, findings=(found,)
    )


@dataclass(frozen=True)
class CrossFitted:
    """Models made here, one a fold; ``n_classes`` is None for a regression."""

    models: tuple[Any, ...]
    n_classes: int | None

    def __call__(self, frame: pl.DataFrame, X: FloatArray, fold: IntArray, side: str) -> Outputs:
        """Return each row's output by one of the models."""
        del frame, side
        return self.on(X, fold % len(self.models))

    def on(self, X: FloatArray, fold: IntArray) -> Outputs:
        """Return each row's output by the model of its fold."""
        width = self.n_classes or 1
        said = by_fold([partial(_said, model, width=width) for model in self.models], fold, X)
        return Outputs(value=said[:, 0]) if self.n_classes is None else Outputs(proba=said).labelled()


def _boosted(tables: Tables, seed: int) -> Any:
    classes = None if tables.classes is None else tables.y
    settings = boosting_settings(tables.X, tables.categorical, y=classes, seed=seed)
    made = BoostedRegressor if tables.classes is None else BoostedClassifier
    return made(**settings)


def _said(fitted: Any, X: FloatArray, width: int) -> FloatArray:
    if width == 1:
        return np.asarray(fitted.predict(X), dtype=np.float64)[:, None]
    out = np.zeros((len(X), width))
    out[:, fitted.classes_.astype(np.int64)] = fitted.predict_proba(X)
    return out


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".;") if text else type(error).__name__
