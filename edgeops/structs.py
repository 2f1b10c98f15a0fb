"""Lets msgspec learn our types before threads use them.

msgspec builds what it knows of a Struct at its first use, in C, and gives the interpreter away while it does: two
threads that decode the same type for the first time at once crash the process (msgspec 0.22; `make chaos` found it, in
about one start of an agent with two deployments in 250).
"""

from collections.abc import Iterator

import msgspec

_OURS = ("edgeops.", "device_agent.", "fleet_server.")


def learn_all() -> None:
    """Learn every Struct of ours that is imported by now; for the main thread, before it starts another."""
    for kind in _below(msgspec.Struct):
        if kind.__module__.startswith(_OURS):
            msgspec.json.Decoder(kind)


def _below(kind: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    below: list[type[msgspec.Struct]] = kind.__subclasses__()
    for one in below:
        yield one
        yield from _below(one)
