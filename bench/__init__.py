"""Benchmarks: each runs alone as `python -m bench.<name>` and prints the machine, the peers' figures and the ratios."""
