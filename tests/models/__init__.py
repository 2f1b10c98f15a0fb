"""Models that do not behave: see `tests.models.bad`."""
