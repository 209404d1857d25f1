"""Expected risks of a scorer where the law of y given x is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import xlogy
from scipy.stats import norm

FloatArray = npt.NDArray[np.float64]


def risks(
    scores: FloatArray,
    *,
    posterior: FloatArray | None = None,
    mean: FloatArray | None = None,
    sd: FloatArray | None = None,
) -> dict[str, float]:
    """Expected risks of ``scores``, averaged over rows, with y integrated out.

    Parameters
    ----------
    scores : ndarray of shape (n,) or (n, k)
        Probabilities of class 1, of each class, or predictions of a number.
    posterior : ndarray of the shape of ``scores``, optional
        True probabilities; the result is ``accuracy``, ``log_loss`` and ``brier``
        (for two classes the squared error of the probability of class 1, for more
        the squared distance between probabilities and indicator).
    mean, sd : ndarray of shape (n,), optional
        Law of a normal y; the result is ``mae`` and ``mse``.

    Returns
    -------
    dict of str to float
    """
    if posterior is None:
        if mean is None or sd is None:
            raise ValueError("risks needs a posterior, or a mean and an sd.")
        gap = scores - mean
        # Mean of |gap - sd Z|, the folded normal.
        mae = sd * np.sqrt(2 / np.pi) * np.exp(-0.5 * (gap / sd) ** 2) + gap * (1 - 2 * norm.cdf(-gap / sd))
        return {"mae": float(np.mean(mae)), "mse": float(np.mean(gap**2 + sd**2))}
    two = scores.ndim == 1
    p = np.column_stack([1 - posterior, posterior]) if two else posterior
    q = np.column_stack([1 - scores, scores]) if two else scores
    top = q[:, 1] >= 0.5 if two else q.argmax(axis=1)
    hit = p[np.arange(len(p)), top.astype(int)]
    # E |q - e_Y|^2 = |q - p|^2 + sum p (1 - p); two columns count the same error twice.
    brier = ((q - p) ** 2 + p * (1 - p)).sum(axis=1) * (0.5 if two else 1.0)
    log_loss = -xlogy(p, q).sum(axis=1)
    return {
        "accuracy": float(hit.mean()),
        "log_loss": float(log_loss.mean()),
        "brier": float(brier.mean()),
    }
