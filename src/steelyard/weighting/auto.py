"""``weighting="auto"``: several density ratios are learnt, and held-out rows say which one counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from steelyard.weighting.base import RatioEstimator
from steelyard.weighting.study import DomainStudy

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class AutoRatio(RatioEstimator):
    """The density ratio that held-out rows find best, of several that are learnt alike.

    Candidates from a sparse linear log ratio to boosted trees are fitted to one fold;
    those, at most three, that its rows find best or that add to the best are cross-fitted, and
    so is their combination, which weighs their log ratios. Every candidate's largest ratios
    are cut where held-out rows say that they only add error, and where fewer than five target
    rows show them. Of those whose `ratio_score` is within a standard error of the best, the
    simplest is taken; simplest of all are constant weights, which also stand
    where held-out rows do not find the weights' squared error below theirs.
    Assumes that the target has no mass where the source has none.

    Parameters
    ----------
    candidates : sequence of str, optional
        Of "linear", "quadratic", "additive", "kernel", "boosted" and "boosted quadratic"; all by default.
    categorical_features : boolean array of shape (d,), optional
        Which columns hold category codes, 0 to 254; none by default.
    n_folds : int
    max_rows : int, optional
        Rows a side that are fitted; all rows are scored.
    random_state : int, Generator or None

    Attributes
    ----------
    chosen_ : str
        A candidate, ``"combined"`` or ``"constant"``.
    scores_ : dict of str to float
        `ratio_score` of each on rows that it had not seen; 0 is that of constant weights. A
        candidate that was given up after one fold has that of the best one, less what it lacked
        of it there.
    shares_ : dict of str to float
        The candidates' shares in the log ratio that is used.
    caps_ : dict of str to float
        Log ratio where each was cut.
    ratio_ : ChosenRatio
    fits_ : int
        How many models were fitted; at most 20 with five folds.

    Notes
    -----
    Missing values are taken. Every row's log ratio comes from models that have not
    seen it; only the caps, the combination's few shares and the number of trees have. Knots,
    scales and bins are measured once on all rows, whichever side they are on. In linear
    models and kernels, a number counts as far as twice the distance of the outermost percent
    from the median, so that no single row can turn a slope. A new row's log ratio is the mean of
    the folds' models. Time: a fit of each candidate and ``n_folds`` of three, on at most
    ``max_rows`` rows a side, about ten seconds there, and scoring in O(n); memory O(n d +
    max_rows k) for k features of the candidates, a few hundred at most.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(500, 2)), rng.normal(0.5, size=(500, 2))
    >>> auto = AutoRatio(random_state=0).fit(X, X_target=X_target)
    >>> auto.chosen_
    'linear'
    >>> bool(np.corrcoef(auto.weights(), np.exp(0.5 * X.sum(axis=1)))[0, 1] > 0.95)
    True
    """

    def __init__(
        self,
        candidates: Sequence[str] | None = None,
        *,
        categorical_features: Any = None,
        n_folds: int = 5,
        max_rows: int | None = 50_000,
        random_state: Any = None,
    ) -> None:
        self.candidates = candidates
        self.categorical_features = categorical_features
        self.n_folds = n_folds
        self.max_rows = max_rows
        self.random_state = random_state

    def _fit(
        self, X: FloatArray, y: Any, X_target: FloatArray, sample_weight: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        study = DomainStudy(
            X,
            X_target,
            categorical=self.categorical_features,
            sample_weight=sample_weight,
            n_folds=self.n_folds,
            max_rows=self.max_rows,
            random_state=self.random_state,
        )
        self.ratio_ = study.auto(self.candidates)
        self.chosen_, self.scores_ = self.ratio_.chosen, self.ratio_.scores
        self.shares_, self.caps_ = self.ratio_.shares, self.ratio_.caps
        self.n_folds_, self.fits_ = study.n_folds, study.fits
        return self.ratio_.source + self.ratio_.log_mass, self.ratio_.target + self.ratio_.log_mass

    def _log_ratio(self, X: FloatArray) -> FloatArray:
        return self.ratio_.mean(X) + self.ratio_.log_mass

    def log_ratio_by_fold(self, X: Any, fold: IntArray) -> FloatArray:
        """Return the log ratio at rows, (n,), each by one fold's models instead of the mean of all.

        A mean of models is sharper than any of them. Rows scored like this follow
        the law of ``log_ratio_``, in which every row has one model's score.

        Parameters
        ----------
        X : array of shape (n, d)
            Rows that were not fitted on; n is at least 1.
        fold : array of shape (n,)
            Which models, counted modulo their number.
        """
        check_is_fitted(self, "log_mass_")
        return self.ratio_.by_fold(X, fold)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
