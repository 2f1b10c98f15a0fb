"""Writes docs/states.md: the two machines of a rollout as diagrams, drawn from their tables."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeops.rollout import installation, rollout

PAGE = Path(__file__).with_name("states.md")
_HEAD = """# States of rollouts and installations

Made by `make docs` from the tables in `edgeops/rollout`; do not edit. An arrow that leads back to its own state is left
out. What a person, a device, the clock or the engine says is above the arrow.
"""


def page() -> str:
    """The whole page."""
    waiting = "\n".join(f"| {state} | {_waits(state)} |" for state in rollout.RolloutState)
    return (
        f"{_HEAD}\n## A rollout\n\n{_diagram(rollout.TABLE, 'draft')}\n"
        f"What leads out of a state:\n\n| state | waits for |\n|---|---|\n{waiting}\n"
        f"\n## An installation\n\n{_diagram(installation.TABLE, 'pending')}"
    )


def _waits(state: rollout.RolloutState) -> str:
    waiting = rollout.waits_for(state)
    if waiting is None:
        return "nothing: it has ended"
    return waiting.words if waiting.deadline is None else f"{waiting.words}; or `{waiting.deadline}`"


def _diagram(table: Mapping[tuple[Any, Any], tuple[Any, Any]], first: str) -> str:
    arrows: dict[tuple[str, str], list[str]] = defaultdict(list)
    # Sets of states come in any order.
    for (before, event), (after, _) in sorted(table.items()):
        if before != after:
            arrows[before, after].append(event)
    lines = [f"    {_name(one)} --> {_name(other)}: {', '.join(events)}" for (one, other), events in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {_name(first)}", *lines, "```", ""])


def _name(state: str) -> str:
    return state.replace("-", "_")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
