"""How far relations of target and columns moved in real shifts: assumed where nothing else tells."""

from __future__ import annotations

USUAL_MOVE = 0.10
"""How far relations usually move between populations, in standard deviations of a row's residual effect."""

USUAL_CONFIDENCE = 4.0
"""How many environments of one's own that knowledge is worth."""
