"""The evidence: one file a paper, each a check of the paper's claim that anyone can run again.

``python -m claims run`` runs the checks and writes ``claims/results.json``;
``python -m claims table`` writes ``docs/CLAIMS.md`` from the catalogue and the results.
"""

from claims.registry import Bound, Comparison, Identity

__all__ = ["Bound", "Comparison", "Identity"]
