"""How good is a model where there are no labels: steelyard, NannyML, importance weighting, carry-over."""
