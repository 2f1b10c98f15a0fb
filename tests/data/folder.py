"""Where the public research data lies."""

import os
from pathlib import Path


def data_folder() -> Path:
    """Where the public research data lies; its absence is a failure, never a skip."""
    default = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("EDGEOPS_TEST_DATA", default))
    assert (folder / "gas_drift").is_dir(), f"no research data in {folder}; set EDGEOPS_TEST_DATA"
    return folder
