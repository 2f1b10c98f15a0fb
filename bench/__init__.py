"""What good means, measured: one module per row, `measure()` in each returns the row (see `bench.__main__`)."""
