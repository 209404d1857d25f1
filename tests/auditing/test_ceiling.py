"""Near the ceiling, and where LIVE lies far off: what little data show is said to be little."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_wine

import steelyard
from tests.command_line import invoke


def _halves(seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    X, y = load_wine(return_X_y=True)
    table = pl.DataFrame(X, schema=[f"x{j}" for j in range(X.shape[1])]).with_columns(
        y=pl.Series(y).cast(pl.String)
    )
    order = np.random.default_rng(seed).permutation(table.height)
    return table[order[:89]], table[order[89:]]


@pytest.mark.parametrize("seed", range(3))
def test_an_easy_table_leaves_counting_noise(seed: int) -> None:
    train, live = _halves(seed)
    result = steelyard.audit(
        train, live.drop("y"), target="y", labels=live["y"].to_list(), metrics=["accuracy"]
    )
    row = result.performance[0]
    # At 97% right, 89 labels of LIVE alone spread by 0.018.
    assert row.high - row.low > 2 * 0.018
    assert row.low <= row.live_actual <= row.high <= 1.0


def _few_rows(n: int, tilt: float, rng: np.random.Generator) -> pl.DataFrame:
    level = np.arange(21)
    share = np.exp(-0.5 * ((level - 10) / 4) ** 2 + tilt * level)
    education = rng.choice(level, size=n, p=share / share.sum())
    words = np.round(4 + 0.4 * education + rng.normal(size=n) * 2, 2)
    return pl.DataFrame({"sex": rng.choice(["f", "m"], size=n), "education": education, "words": words})


def test_a_table_of_few_different_rows_has_no_heavy_tail() -> None:
    rng = np.random.default_rng(3)
    train, live = _few_rows(4000, 0.0, rng), _few_rows(3000, 0.12, rng)
    result = steelyard.audit(train, live.drop("words"), target="words", metrics=["mae"])
    assert result.weights.ess_fraction > 0.5
    assert result.weights.trusted
    assert result.performance[0].live_estimate is not None


def test_what_the_ratio_in_use_puts_far_off_is_not_covered(tmp_path) -> None:
    rng = np.random.default_rng(1)
    train = pl.DataFrame({"year": rng.integers(80, 85, 400), "x": rng.normal(size=400)}).with_columns(
        y=pl.col("year") * 0.1 + pl.col("x")
    )
    live = pl.DataFrame({"year": rng.integers(84, 88, 400), "x": rng.normal(size=400)})
    train.write_csv(tmp_path / "train.csv")
    live.write_csv(tmp_path / "live.csv")
    done = invoke(
        "audit", str(tmp_path / "train.csv"), str(tmp_path / "live.csv"), "--target", "y",
        "--out", str(tmp_path / "out"),
    )  # fmt: skip
    assert done.exit_code == 3
    assert "of LIVE" in done.stdout
