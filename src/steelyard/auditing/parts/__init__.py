"""The audit of tables too large to hold: models from a sample of the rows, sums over all of them."""
