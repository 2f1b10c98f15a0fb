"""docs/states.md shows the tables of rollouts as they are."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_diagrams_are_those_of_the_tables():
    made = runpy.run_path(str(DOCS / "make_states.py"))["page"]()
    assert (DOCS / "states.md").read_text(encoding="utf-8") == made, "out of date: make docs"
