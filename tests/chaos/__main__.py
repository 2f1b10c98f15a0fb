"""Runs chaos and prints the table of hits and one last line of figures; exit code 0 when nothing was lost."""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from edgeops.local import processes
from edgeops.local.up import Site
from tests.chaos.fleet import GOOD, MODEL, VARIANT, Fleet, say
from tests.chaos.killing import Killer, Toll
from tests.chaos.place import PLACES
from tests.chaos.plot import Plot

_SETTLE_S = 300.0
_POLL_S = 0.5


def main() -> int:
    """Kill a fleet; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=300, help="at least so many; default: 300")
    parser.add_argument("--hits", type=int, default=5, help="in every persisted state at least so many; default: 5")
    parser.add_argument("--agents", type=int, default=6)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    began_s = time.monotonic()
    folder = tempfile.mkdtemp(prefix="edgeops-chaos-")
    say(f"the fleet is in {folder}; it stays there if chaos ends badly")
    with Site(Path(folder) / "site", agents=options.agents, warm=True) as site:
        fleet = Fleet(site, Path(folder))
        fleet.prepare()
        killer = Killer(fleet, seed=options.seed, kills=options.kills, hits=options.hits)
        killer.run()
        for _ in GOOD:
            _converge(fleet, fleet.newcomer())
        rows = _count_rows(fleet)
        for device in fleet.devices:
            killer.note(device)
            killer.note_answers(device)
        lost = _lost(fleet, killer.toll)
    code = _tell(killer.toll, rows, lost, seconds=time.monotonic() - began_s)
    if not code:
        shutil.rmtree(folder)
    return code


def _converge(fleet: Fleet, version: int) -> None:
    """One more rollout, in peace: every device takes it."""
    plot = Plot("peace", version, {})
    plot.begin(fleet)
    until_s = time.monotonic() + _SETTLE_S
    while not plot.has_ended(fleet):
        assert time.monotonic() < until_s, f"no rest in {_SETTLE_S:.0f} s after chaos"
        time.sleep(_POLL_S)
    digest = fleet.digests[version]
    active = {device.agent.name: device.slots().pointer.active for device in fleet.devices}
    assert set(active.values()) == {digest}, f"{MODEL}@{version} {VARIANT} is {digest}, but active are {active}"


def _count_rows(fleet: Fleet) -> dict[str, tuple[int, int]]:
    """Per device rows that it played and rows in windows that the server holds."""
    for device in fleet.devices:
        fleet.stop_source(device)
    until_s = time.monotonic() + _SETTLE_S
    waiting = list(fleet.devices)
    while waiting and time.monotonic() < until_s:
        time.sleep(_POLL_S)
        waiting = [device for device in waiting if fleet.pending(device)]
    processes.stop([device.agent.child for device in fleet.devices])
    return {device.agent.name: (fleet.rows_played(device), fleet.rows_counted(device)) for device in fleet.devices}


def _lost(fleet: Fleet, toll: Toll) -> list[tuple[str, str, str]]:
    """Final states that devices reported and the server never heard."""
    heard = {
        (event.subject, event.data.get("installation"), event.data.get("state"))
        for event in fleet.client.past_events(kinds=("report.received",))
    }
    return sorted(toll.ended - heard)


def _tell(toll: Toll, rows: dict[str, tuple[int, int]], lost: list[tuple[str, str, str]], *, seconds: float) -> int:
    """The table and the figures."""
    for place in PLACES:
        sys.stdout.write(f"{place!s:16} {toll.hits[place]:4}\n")
    played, counted = sum(one for one, _ in rows.values()), sum(one for _, one in rows.values())
    ills = {"without a model": toll.modelless, "unverified": toll.unverified, "fallen": toll.fallen, "lost": lost}
    for what, found in ills.items():
        for one in found[:10]:
            say(f"{what}: {one}")
    for name, (one, other) in rows.items():
        if one != other:
            say(f"{name} played {one} rows, the server counted {other}")
    killed = ", ".join(f"{name} {count}" for name, count in sorted(toll.kills.items()))
    sys.stdout.write(
        f"{toll.kills.total()} kills ({killed}) in {seconds:.0f} s; {len(toll.modelless)} times a device without a "
        f"working model, {len(toll.unverified)} unverified models at work, {len(toll.fallen)} models fallen, {len(lost)} of {len(toll.ended)} final "
        f"statuses lost, {played} rows played and {counted} acknowledged\n"
    )
    whole = not any(ills.values()) and all(one == other for one, other in rows.values())
    return 0 if whole and played and toll.answered else 1


if __name__ == "__main__":
    sys.exit(main())
