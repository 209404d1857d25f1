"""steelyard beside other packages, measured in one run: ``python -m benchmarks NAME``."""
