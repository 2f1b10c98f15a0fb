"""The tables of both machines as they are meant: an entry that is lost, added or leads elsewhere shows here."""

from edgeops.rollout import installation, rollout
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.rollout import RolloutState

#: State: event > next state + command, nothing where nothing is done.
ROLLOUT = """
draft: ask-approval > awaiting-approval, submit > scheduled, abort > aborted + withdraw-offers, superseded > aborted + withdraw-offers, model-withdrawn > failed + withdraw-offers, expire > aborted + withdraw-offers
awaiting-approval: approve > scheduled, deny > denied + withdraw-offers, abort > aborted + withdraw-offers, superseded > aborted + withdraw-offers, model-withdrawn > failed + withdraw-offers, expire > denied + withdraw-offers
scheduled: ask-approval > awaiting-approval, await-blessing > awaiting-blessing, blessing-refused > failed + withdraw-offers, start > running + offer-wave, abort > aborted + withdraw-offers, superseded > aborted + withdraw-offers, model-withdrawn > failed + withdraw-offers
awaiting-blessing: ask-approval > awaiting-approval, blessing-refused > failed + withdraw-offers, start > running + offer-wave, abort > aborted + withdraw-offers, superseded > aborted + withdraw-offers, model-withdrawn > failed + withdraw-offers, expire > aborted + withdraw-offers
running: devices-ready > running + offer-wave, wave-passed > running + offer-wave, last-wave-passed > finished, wave-failed > failed + withdraw-offers, evidence-missing > paused, pause > paused, advance > running + offer-wave, advance-last > finished, abort > aborted + withdraw-offers, roll-back > rolling-back + take-back, retry > running + offer-wave, superseded > aborted + withdraw-offers, model-withdrawn > failed + withdraw-offers
paused: wave-failed > failed + withdraw-offers, resume > running + offer-wave, resume-live > live + offer-wave, advance > running + offer-wave, advance-last > finished, abort > aborted + withdraw-offers, roll-back > rolling-back + take-back, retry > running + offer-wave, superseded > aborted + withdraw-offers, model-withdrawn > failed + withdraw-offers
rolling-back: taken-back > rolled-back, expire > rolled-back
finished: devices-ready > finished + offer-wave, wave-failed > finished-with-regressions, go-live > live + offer-wave, abort > finished + withdraw-offers, roll-back > rolling-back + take-back, regressed > finished-with-regressions, retry > finished + offer-wave
finished-with-regressions: resume > finished + offer-wave, roll-back > rolling-back + take-back, retry > finished + offer-wave
live: devices-ready > live + offer-wave, wave-failed > paused, pause > paused, abort > aborted + withdraw-offers, roll-back > rolling-back + take-back, retry > live + offer-wave, superseded > aborted + withdraw-offers, model-withdrawn > failed + withdraw-offers
"""

INSTALLATION = """
pending: offer > offered + desire, time-out > timed-out, withdraw > superseded
offered: progress > installing, commit > committed, fail > failed + restore, reject > rejected + restore, roll-back > rolled-back + restore, doubt > inconclusive + restore, turn-away > superseded, time-out > timed-out, miss > retried + restore, withdraw > superseded + restore
installing: progress > installing, commit > committed, fail > failed + restore, reject > rejected + restore, roll-back > rolled-back + restore, doubt > inconclusive + restore, turn-away > superseded, time-out > timed-out, withdraw > superseded + restore
committed: progress > committed, commit > committed, pass > healthy, recall > rolled-back + restore, regress > regressed
healthy: progress > healthy, commit > healthy, recall > rolled-back + restore, regress > regressed
failed: progress > failed, fail > failed, retry > retried
rejected: progress > rejected, reject > rejected, retry > retried
rolled-back: progress > rolled-back, roll-back > rolled-back, retry > retried
inconclusive: progress > inconclusive, doubt > inconclusive, retry > retried
superseded: progress > superseded, commit > superseded, fail > superseded, reject > superseded, roll-back > superseded, doubt > superseded, turn-away > superseded, withdraw > superseded
timed-out: progress > timed-out, commit > committed, fail > failed + restore, reject > rejected + restore, roll-back > rolled-back + restore, doubt > inconclusive + restore, turn-away > superseded, retry > retried + restore, withdraw > superseded + restore
retried: progress > retried, commit > retried, fail > retried, reject > retried, roll-back > retried, doubt > retried, turn-away > retried, withdraw > retried
regressed: progress > regressed, commit > regressed, recall > rolled-back + restore, regress > regressed
"""

#: Of its wave.
COUNTERS = """
pending:
offered: offered
installing: offered
committed: committed offered
healthy: committed offered
failed: failed offered
rejected: failed offered
rolled-back: failed offered
inconclusive: inconclusive offered
superseded:
timed-out: failed offered
retried:
regressed: offered regressed
"""


def written(table, states):
    lines = []
    for state in states:
        rows = {event: row for (before, event), row in table.items() if before is state}
        events = [event for kind in {type(event) for event in rows} for event in kind if event in rows]
        told = [f"{event} > {rows[event][0]}{_command(rows[event][1])}" for event in events]
        lines += [f"{state}: {', '.join(told)}"] if told else []
    return lines


def _command(command):
    return "" if command == "none" else f" + {command}"


def test_the_machine_of_a_rollout():
    assert written(rollout.TABLE, RolloutState) == ROLLOUT.strip().splitlines()


def test_the_machine_of_an_installation():
    assert written(installation.TABLE, InstallationState) == INSTALLATION.strip().splitlines()


def test_the_counters_that_an_installation_is_part_of():
    told = [f"{state}: {' '.join(sorted(installation.counted(state)))}".strip() for state in InstallationState]
    assert told == COUNTERS.strip().splitlines()
