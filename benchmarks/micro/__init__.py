"""Micro-benchmarks of start-up and hot kernels; not tests, so ``pytest`` by itself does not collect them.

``pytest benchmarks/micro/bench_*.py`` runs them (extra ``test``, for pytest-benchmark).
"""
