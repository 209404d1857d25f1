"""Weights of source rows beside densratio's, skada's and balance's, on problems whose ratio is known."""
