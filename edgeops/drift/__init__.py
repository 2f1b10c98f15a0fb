"""Says from sketches alone whether the world still looks like what a model learnt from."""
