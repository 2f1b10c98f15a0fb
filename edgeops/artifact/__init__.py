"""The artifact (one immutable model file), its manifest, and the descriptor that TUF signs."""
