"""The model's output: the same numbers as the model gives by itself, and one clear line if it cannot."""

from __future__ import annotations

import joblib
import numpy as np
import polars as pl
import pytest
from scipy.stats import ks_2samp
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import LinearSVC

from steelyard.auditing.learn.model import model_output
from steelyard.auditing.reading.read import read_tables
from steelyard.errors import InputError


def table(n: int, seed: int, classes: tuple = (0, 1)) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=n), rng.normal(size=n)
    color = rng.choice(["red", "blue"], n)
    score = a - 0.5 * b + (color == "red") + rng.logistic(size=n)
    code = np.digitize(score, np.quantile(score, np.arange(1, len(classes)) / len(classes)))
    return pl.DataFrame({"a": a, "b": b, "color": color, "y": np.array(classes)[code].tolist()})


TRAIN, LIVE = table(400, 0), table(300, 1)
NUMBERS = ["a", "b"]


def read(train=TRAIN, live=LIVE, **options):
    return read_tables(train, live.drop("y"), target="y", **options)


def findings(output) -> dict[str, str]:
    return {finding.id: finding.text for finding in output.findings}


def fault(tables, model) -> str:
    with pytest.raises(InputError) as caught:
        model_output(tables, model=model)
    assert len(caught.value.faults) == 1
    return caught.value.faults[0]


def pipeline(classifier):
    columns = make_column_transformer((OneHotEncoder(), ["color"]), remainder="passthrough")
    return make_pipeline(columns, classifier)


def test_columns_that_are_there_are_kept_and_labelled():
    p = np.array([0.2, 0.5, 0.8, 0.49] * 100)
    train = TRAIN.with_columns(s=pl.Series(p))
    tables = read(train, LIVE.with_columns(s=0.5), proba="s")
    output = model_output(tables)
    np.testing.assert_array_equal(output.train.label, p >= 0.5)
    np.testing.assert_array_equal(output.live.label, np.ones(300))
    assert (output.train, output.live) == (tables.given.train, tables.given.live)
    assert not output.made_here and not output.findings
    with pytest.raises(InputError, match="one of them"):
        model_output(tables, model=LinearRegression())


def test_a_pipeline_on_a_data_frame_gets_raw_columns_by_name(tmp_path):
    model = pipeline(LogisticRegression()).fit(
        TRAIN.select("color", "b", "a").to_pandas(), TRAIN["y"].to_numpy()
    )
    joblib.dump(model, tmp_path / "model.joblib")
    expected = model.predict_proba(LIVE.select("color", "b", "a").to_pandas())
    for given in (model, tmp_path / "model.joblib", str(tmp_path / "model.joblib")):
        output = model_output(read(), model=given)
        np.testing.assert_allclose(output.live.proba, expected, rtol=1e-12)
        np.testing.assert_array_equal(output.live.label, expected[:, 1] >= 0.5)
    assert "model-may-know-train" in findings(output)


def test_a_model_fitted_on_an_array_gets_every_column_even_dropped_ones():
    train, live = (t.select("a", "b", "y").with_columns(one=pl.lit(1.0)) for t in (TRAIN, LIVE))
    X = train.select("a", "b", "one").to_numpy()
    model = LogisticRegression().fit(X, train["y"].to_numpy())
    tables = read(train, live)
    assert len(tables.features) == 2
    np.testing.assert_allclose(
        model_output(tables, model=model).train.proba, model.predict_proba(X), rtol=1e-12
    )


def test_class_order_follows_the_models_classes():
    train, live = (table(n, s, ("no", "yes")).select("a", "b", "y") for n, s in ((400, 2), (300, 3)))
    model = LogisticRegression().fit(train.select(NUMBERS).to_pandas(), train["y"].to_numpy().astype(str))
    expected = model.predict_proba(live.select(NUMBERS).to_pandas())
    np.testing.assert_allclose(model_output(read(train, live), model=model).live.proba, expected)
    turned = read(train, live, positive="no")
    assert turned.classes == ("yes", "no")
    np.testing.assert_allclose(model_output(turned, model=model).live.proba, expected[:, ::-1])


def test_labels_only_multiclass_and_numbers():
    train, live = (table(n, s, ("c", "a", "b")).select("a", "b", "y") for n, s in ((400, 4), (300, 5)))
    svc = LinearSVC().fit(train.select(NUMBERS).to_numpy(), train["y"].to_list())
    output = model_output(read(train, live), model=svc).live
    assert output.proba is None
    said = svc.predict(live.select(NUMBERS).to_numpy())
    assert [("a", "b", "c")[code] for code in output.label] == said.tolist()

    numbers = TRAIN.select("b", pl.col("a").alias("y"))
    line = LinearRegression().fit(numbers.select("b").to_numpy(), numbers["y"].to_numpy())
    output = model_output(read(numbers, LIVE.select("b", "y")), model=line).live
    np.testing.assert_allclose(output.value, line.predict(LIVE.select("b").to_numpy()))


class Failing:
    """A model whose predict says why it cannot."""

    def predict(self, X):
        raise RuntimeError("wheels are missing\nand more")


class Missing:
    def predict(self, X):
        return np.full(len(X), np.nan)


def test_models_that_cannot_be_used(tmp_path):
    named = LogisticRegression().fit(
        TRAIN.select(pl.col("a"), pl.col("b").alias("height")).to_pandas(), TRAIN["y"].to_numpy()
    )
    said = fault(read(), named)
    assert "'height'" in said
    assert "'color'" in said
    assert "takes 2 columns" in fault(
        read(), LogisticRegression().fit(TRAIN.select(NUMBERS).to_numpy(), TRAIN["y"])
    )
    assert "wheels are missing" in fault(read(), Failing())
    assert "without predict" in fault(read(), object())
    other = LogisticRegression().fit(TRAIN.select(NUMBERS).to_pandas(), TRAIN["y"].to_numpy() + 5)
    assert "knows the classes 5, 6" in fault(read(), other)
    text = fault(read(), LogisticRegression().fit(np.zeros((4, 3)) + np.arange(4)[:, None], [0, 1, 0, 1]))
    assert "cannot take the columns of TRAIN" in text
    number = TRAIN.select("b", "color", pl.col("a").alias("y"))
    assert "missing or infinite" in fault(read(number, LIVE.select("b", "color", "y")), Missing())
    assert "not a file" in fault(read(), tmp_path / "none.joblib")
    (tmp_path / "bad.joblib").write_bytes(b"not a pickle")
    assert "cannot be loaded" in fault(read(), tmp_path / "bad.joblib")


def test_cross_fitted_outputs_are_honest_and_reproducible():
    output = model_output(read(), random_state=3)
    assert "model-made-here" in findings(output)
    assert output.made_here
    again = model_output(read(), random_state=3)
    np.testing.assert_array_equal(output.live.proba, again.live.proba)
    np.testing.assert_allclose(output.train.proba.sum(axis=1), 1)
    noise = TRAIN.with_columns(y=pl.Series(np.random.default_rng(0).integers(0, 2, 400)))
    fitted = model_output(read(noise)).train
    # Labels of pure noise: out-of-fold accuracy is one half, four standard errors of 400 coin flips.
    assert np.mean(fitted.label == noise["y"].to_numpy()) == pytest.approx(0.5, abs=4 * 0.5 / 20)


def test_outputs_of_both_tables_have_the_same_law_without_shift():
    rejected = 0
    for seed in range(20):
        both = table(500, 100 + seed)
        output = model_output(read(both.head(250), both.tail(250)), folds=2, random_state=seed)
        rejected += ks_2samp(output.train.proba[:, 1], output.live.proba[:, 1]).pvalue < 0.05
    # Binomial(20, 0.05): more than 5 has probability 0.0003.
    assert rejected <= 5


def test_regression_and_rare_classes():
    output = model_output(read(TRAIN.with_columns(y=pl.col("a")), LIVE))
    assert output.train.value.shape == (400,)
    assert output.train.proba is None
    rare = TRAIN.with_columns(y=pl.Series(["x", "y"] * 198 + ["z"] * 3 + ["x"]))
    output = model_output(read(rare))
    assert "3 folds" in findings(output)["model-made-here"]
    assert output.train.proba.shape == (400, 3)
    single = TRAIN.with_columns(y=pl.Series(["x", "y"] * 199 + ["z", "x"]))
    assert "single row in TRAIN ('z')" in fault(read(single), None)
