"""Split conformal prediction, plain and weighted, beside mapie and puncc."""
