"""The census extract is what its description says."""

import polars as pl
from sklearn.metrics import roc_auc_score

from steelyard.datasets import census_paths, load_census


def test_labels_of_live_sit_in_a_file_of_their_own():
    c = load_census()
    assert c.target not in c.live.columns
    assert c.live_labels.columns == [c.target]
    assert len(c.live) == len(c.live_labels) == 12_112
    assert c.train.columns == [*c.live.columns, c.target]


def test_files_are_small():
    assert sum(path.stat().st_size for path in census_paths()) < 400_000


def test_columns_are_typed_for_reading():
    c = load_census()
    for frame in (c.train, c.live):
        assert frame.null_count().sum_horizontal().item() == 0
        assert frame["AGEP"].dtype == pl.Int16
        coded = [name for name in frame.columns if name not in ("AGEP", "score", "employed")]
        assert len(coded) == 15
        assert all(frame[name].dtype == pl.String for name in coded)
        assert frame["score"].is_between(0, 1).all()


def test_live_has_more_movers_young_and_foreign_born_and_the_model_does_worse():
    c = load_census()

    def share(frame, condition):
        return frame.select(condition.mean()).item()

    for condition in (
        pl.col("MIG").is_in(["2", "3"]),
        pl.col("AGEP").is_between(18, 34),
        pl.col("NATIVITY") == "2",
    ):
        assert share(c.live, condition) > 1.3 * share(c.train, condition)
        assert share(c.train, condition) > 0.05
    train = roc_auc_score(c.train["employed"], c.train["score"])
    live = roc_auc_score(c.live_labels["employed"], c.live["score"])
    # Two samples of 12,000: standard error of each AUC about 0.003.
    assert 0.90 < train < 0.91
    assert 0.015 < train - live < 0.03
