"""Benchmarks: `make bench` prints ratios within one run; absolute times drift by 2× and more on shared machines."""
