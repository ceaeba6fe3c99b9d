"""Measurements, side by side in one run: `make bench`, or one alone with `python -m bench.starts`.

Each module prints a table and writes `results/<its name>.json`, the only source of the numbers in the docs.
"""
