"""Faults of the data: how often they are found where there are none, and where they were planted."""
