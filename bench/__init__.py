"""Benchmarks: one command per goal, against a rival in the same run, its rows checked. See docs/performance.md."""
