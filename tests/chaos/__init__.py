"""Kills a small fleet all over the place and counts what was lost: `python -m tests.chaos`, or `make chaos`."""
