"""How many digits a decision has that goes into a manifest."""


def rounded(value: float) -> float:
    """Seven significant ones, all that a 32-bit float can tell; keeps manifests short."""
    return float(f"{value:.7g}")
