"""The health gate: what devices have shown of a new model, summed up, and whether that is proof that it is healthy."""
