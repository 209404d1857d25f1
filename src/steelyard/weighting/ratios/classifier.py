"""The density ratio from a classifier that tells target rows from source rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from steelyard.errors import InputError
from steelyard.numerics.checks import as_rows
from steelyard.numerics.fitting import check_takes_weights, fit_weighted
from steelyard.numerics.random import as_generator, by_fold, deal_folds, draw_seed
from steelyard.weighting.base import RatioEstimator
from steelyard.weighting.ratios._basis import draw
from steelyard.weighting.ratios.calibrated import platt

FloatArray = npt.NDArray[np.float64]


class ClassifierRatio(RatioEstimator):
    """Cross-fitted, calibrated density ratio from any scikit-learn classifier.

    The classifier learns to tell target rows (1) from source rows (0); its odds,
    corrected for the two sample sizes, are the density ratio. Every row is
    scored by a model that has not seen it, and a logistic recalibration of the
    held-out log odds undoes over-confidence.

    Parameters
    ----------
    classifier : estimator, optional
        Anything with ``predict_proba`` or ``decision_function``; a logistic
        regression on standardised columns by default.
    n_folds : int
    calibrate : bool
        Recalibrate the held-out log odds (two parameters).
    max_rows : int, optional
        Rows a side that the models are fitted on; all rows are scored.
    random_state : int, Generator or None

    Notes
    -----
    Assumes that the target has no mass where the source has none. Time:
    ``n_folds`` fits of the classifier.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(500, 1)), rng.normal(0.5, size=(500, 1))
    >>> w = ClassifierRatio(random_state=0).fit(X, X_target=X_target).weights()
    >>> bool(np.corrcoef(w, np.exp(0.5 * X[:, 0]))[0, 1] > 0.95)
    True
    """

    def __init__(
        self,
        classifier: Any = None,
        *,
        n_folds: int = 5,
        calibrate: bool = True,
        max_rows: int | None = 50_000,
        random_state: Any = None,
    ) -> None:
        self.classifier = classifier
        self.n_folds = n_folds
        self.calibrate = calibrate
        self.max_rows = max_rows
        self.random_state = random_state

    def _fit(
        self, X: FloatArray, y: Any, X_target: FloatArray, sample_weight: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        rng = as_generator(self.random_state)
        base = self.classifier
        if base is None:
            if np.isnan(X).any() or np.isnan(X_target).any():
                raise InputError(
                    "X or X_target has missing values (NaN), which the default logistic regression does not "
                    "take; impute them, or pass one that does, such as HistGradientBoostingClassifier()."
                )
            base = make_pipeline(StandardScaler(), LogisticRegression())
        n, m = X.shape[0], X_target.shape[0]
        counted = int(np.count_nonzero(sample_weight))
        folds = min(self.n_folds, counted, m)
        if self.n_folds < 2:
            raise InputError(f"n_folds is {self.n_folds}; at least 2 are needed to score rows out of fold.")
        if folds < 2:
            raise InputError(
                f"X has {counted} sample(s) that count and X_target {m}: too few to cross-fit; at least 2 a "
                "side are needed."
            )
        check_takes_weights(base, sample_weight)
        rows = np.vstack([X, X_target])
        domain = np.repeat([0, 1], [n, m])
        weight = np.concatenate([sample_weight, np.ones(m)])
        # Rows that do not count are dealt apart and not drawn, so that every fold has some that do.
        fold = np.concatenate(
            [deal_folds(n, folds, rng, strata=sample_weight > 0), deal_folds(m, folds, rng)]
        )
        used = np.zeros(n + m, dtype=bool)
        used[draw(n, self.max_rows, rng, sample_weight)] = True
        used[n + draw(m, self.max_rows, rng)] = True

        self.models_: list[tuple[Any, float]] = []
        for k in range(folds):
            train = used & (fold != k)
            model = clone(base)
            chance = [p for p in model.get_params() if p.split("__")[-1] == "random_state"]
            model.set_params(**{p: draw_seed(rng) for p in sorted(chance)})
            fit_weighted(model, rows[train], domain[train], weight[train])
            # Odds times (source weight / target weight) turns posterior odds into a density ratio.
            offset = float(
                np.log(weight[train & (domain == 0)].sum()) - np.log(weight[train & (domain == 1)].sum())
            )
            self.models_.append((model, offset))
        log_odds = by_fold(self._scorers(), fold, rows)
        self.slope_, self.intercept_ = 1.0, 0.0
        if self.calibrate:
            balance = weight / np.where(domain == 0, weight[domain == 0].sum(), weight[domain == 1].sum())
            self.slope_, self.intercept_ = platt(log_odds, domain, balance)
        log_ratio = self.slope_ * log_odds + self.intercept_
        return log_ratio[:n], log_ratio[n:]

    def _log_ratio(self, X: FloatArray) -> FloatArray:
        log_odds = np.mean([score(X) for score in self._scorers()], axis=0)
        return np.asarray(self.slope_ * log_odds + self.intercept_)

    def log_ratio_by_fold(self, X: Any, fold: npt.NDArray[np.int64]) -> FloatArray:
        """Return the log ratio at rows, (n,), each by one fold's model instead of the mean of all.

        A mean of models is sharper than any of them. Rows scored like this follow
        the law of ``log_ratio_``, in which every row has one model's score.

        Parameters
        ----------
        X : array of shape (n, d)
            Rows that were not fitted on; n is at least 1.
        fold : array of shape (n,)
            Which model, counted modulo their number.
        """
        check_is_fitted(self, "log_mass_")
        log_odds = by_fold(self._scorers(), np.asarray(fold) % len(self.models_), as_rows(X))
        return np.asarray(self.slope_ * log_odds + self.intercept_ - self.log_mass_)

    def _scorers(self) -> list[Callable[[FloatArray], FloatArray]]:
        return [partial(_scored, model, offset) for model, offset in self.models_]


def _scored(model: Any, offset: float, X: FloatArray) -> FloatArray:
    return _log_odds(model, X) + offset


def _log_odds(model: Any, X: FloatArray) -> FloatArray:
    if hasattr(model, "decision_function"):
        return np.asarray(model.decision_function(X), dtype=np.float64)
    proba = np.clip(np.asarray(model.predict_proba(X), dtype=np.float64)[:, 1], 1e-12, 1 - 1e-12)
    return np.asarray(np.log(proba) - np.log1p(-proba))
