"""Writes docs/faults.md from the table that the tests play; `make docs` runs it, a test checks that it was run."""

import sys
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from edgeops.protocol.messages import Reason  # noqa: E402 - run as a script, the tests are beside us
from tests.faults.table import CELLS, SLICE, Cell, End, Mishap, Story  # noqa: E402

PAGE = Path(__file__).with_name("faults.md")

_HEAD = """# What an update survives

Each state of the update machine is struck by each mishap, before and after each command that it carries out:
`saved-<state>` is right after the state was persisted, `did-<command>` right after a command was carried out and before
anything says so. The real agent is struck, in a process of its own, with a real broker and an incumbent that answers
{rate} rows a second; a process that died is started again, until everything has settled. The borders come from the
machine's transition table, so that no state can be forgotten; of an update that waits for its maintenance window or its
owner they are what is persisted then. This page is made from the table of the tests by
`make docs`.

Asserted in each of the {cells} cells: the model that answers in the end, the final report of each installation at the
server (each once), that no model answered and no pointer named one that nobody signed, that no row of the replayed file
was skipped and each is in exactly one window; that no silence between two predictions of a process was longer than two
periods of the input and 250 ms, less what the kernel says the agent's threads waited for a processor; after a kill,
that the first prediction came within 5 s of the start, less the same. A full or read-only disk, a lost ack and a wrong
clock strike each state at its first border, the others at every one. `make test` plays {slice} of them, `make test-all`
all.

| mishap | what happens |
|---|---|
{mishaps}

"As ever" is the end that the state's story has without a mishap:

| story | states | ends as |
|---|---|---|
{stories}

| state | border | {names} |
|---|---|{rules}
{rows}
"""

_MISHAPS = {
    Mishap.ERROR: "the code that passes raises an error that nobody foresaw",
    Mishap.HANG: "the thread that passes stands still for 2 s, as behind a card that takes its time",
    Mishap.KILL: "SIGKILL; the agent is started again",
    Mishap.FULL: "the card is full to the last byte (ENOSPC) until the server has heard of it, and a second longer",
    Mishap.READ_ONLY: "the card turns read-only (EROFS) under the running agent, as long",
    Mishap.FULL_START: "SIGKILL, and the next start finds a full card, until the agent has answered an input",
    Mishap.READ_ONLY_START: "SIGKILL, and the next start finds a read-only card, until the agent has answered an input",
    Mishap.LOST_ACK: "the server has what the device reports, and its acks do not arrive for a while",
    Mishap.CLOCK_1970: "the device's clock jumps to 1970",
    Mishap.CLOCK_2038: "the device's clock jumps to 2038",
}
_STORIES = {
    Story.UPDATE: "a good model is desired",
    Story.UNSIGNED: "a digest that nobody signed is desired",
    Story.WRONG: "a model that answers its golden vectors wrongly is desired",
    Story.UNSERVED: "a model that reads a column which the source does not have is desired",
    Story.OVERTAKEN: "a good model is desired, and another one before its blocks are here",
    Story.NOTHING: "nothing is desired any more",
    Story.HELD: "a good model is desired of a device that its owner holds, and releases once it is seen to wait",
    Story.EARLY: "a good model is desired before its maintenance window, and at any time once it is seen to wait",
    Story.CAUGHT: "a good model is desired; the agent dies while it probes and is held before it starts; then released",
}


def page() -> str:
    """The whole page."""
    return _HEAD.format(
        rate=50,
        cells=len(CELLS),
        slice=len(SLICE),
        mishaps="\n".join(f"| {mishap} | {_MISHAPS[mishap]} |" for mishap in Mishap),
        stories="\n".join(_stories()),
        names=" | ".join(Mishap),
        rules="---|" * len(Mishap),
        rows="\n".join(_rows()),
    )


def _stories() -> Iterator[str]:
    for story in Story:
        cells = [cell for cell in CELLS if cell.story is story]
        states = ", ".join(dict.fromkeys(f"`{cell.place}`" for cell in cells))
        plain = next(cell.end for cell in cells if cell.mishap is Mishap.KILL)
        yield f"| {_STORIES[story]} | {states} | {_words(plain)} |"


def _rows() -> Iterator[str]:
    by_place = {(cell.place, cell.border, cell.mishap): cell for cell in CELLS}
    for place, border in dict.fromkeys((cell.place, cell.border) for cell in CELLS):
        ends = [_end(by_place.get((place, border, mishap))) for mishap in Mishap]
        yield f"| `{place}` | `{border}` | {' | '.join(ends)} |"


def _end(cell: Cell | None) -> str:
    if cell is None:
        return ""
    plain = next(other.end for other in CELLS if other.story is cell.story and other.mishap is Mishap.KILL)
    return "as ever" if cell.end == plain else _words(cell.end)


def _words(end: End) -> str:
    reports = " and ".join(f"`{state}`" for state in end.reports) or "nothing to report"
    reason = "" if end.reason is Reason.NONE else f" (`{end.reason}`)"
    answers = "nobody answers" if end.active == "none" else f"{end.active} answers"
    return f"{reports}{reason}, {answers}"


if __name__ == "__main__":
    PAGE.write_text(page())
