"""The jobs process dies before any statement, and after it, and a new one goes on: nothing twice, nothing lost."""

from datetime import timedelta

import pytest
from sqlalchemy import event

from edgeops.learning.retraining import OPEN, RetrainingState
from fleet_server.db import retrainings, rollouts
from fleet_server.db.events import EventKind
from tests.stores import LONG_ON_POSTGRESQL, ON_BOTH
from tests.unit.retraining_rig import Loop

pytestmark = ON_BOTH

S = RetrainingState
MOMENTS = ["before_cursor_execute", "after_cursor_execute"]
AUTO = {"mode": "auto", "labels": 4, "min_labels": 2, "cooldown": 0, "waves": ["100%"]}


class KilledError(OSError):
    """The process ends here: as if the database were gone, which is never a step's fault and never caught."""


def die_everywhere(loop, moment):
    """A new process that dies at its first statement, another one at its second ...; how many there were."""
    count = at = 0

    def kill(_connection, _cursor, statement, *_):
        nonlocal count
        count += not statement.startswith("BEGIN")  # dying right after it is dying before the next one
        if count == at and not statement.startswith("BEGIN"):
            raise KilledError

    engines = (loop.database.control, loop.database.telemetry)
    while True:
        count, at = 0, at + 1
        for engine in engines:
            event.listen(engine, moment, kill)
        try:
            loop.new_retrainer().run_once(loop.now)
        except KilledError:
            continue
        finally:
            for engine in engines:
                event.remove(engine, moment, kill)
        break
    loop.restart()
    loop.run()
    return at - 1


def played(loop, act):
    """What happens while no retrainer runs."""
    retrainer, loop.retrainer = loop.retrainer, None
    act()
    loop.retrainer = retrainer


@LONG_ON_POSTGRESQL
@pytest.mark.parametrize("moment", MOMENTS)
def test_wherever_it_dies_each_thing_is_done_exactly_once(tmp_path, moment):
    loop = Loop(tmp_path, policy=AUTO)
    walked = []

    def reach(act, state):
        played(loop, act)
        assert die_everywhere(loop, moment) > 8
        assert loop.last().state is state
        walked.append(state)

    reach(loop.judge, S.NOMINATING)
    assert sorted(device_id for device_id, _ in loop.asked()) == loop.ids
    reach(loop.nominate, S.LABELLING)
    asked = loop.queue()
    assert len(asked) == 4
    reach(lambda: loop.label(*(one.sample_id for one in asked)), S.TRAINING)
    assert len(loop.queued_jobs()) == 1
    reach(loop.end_job, S.AWAITING_SIGNATURE)
    reach(loop.sign, S.ROLLING_OUT)
    with loop.database.read() as connection:
        assert len(rollouts.page(connection, limit=10)) == 1
    reach(lambda: [loop.commit(device_id) for device_id in loop.ids], S.HEALED)

    assert {*walked, S.PROPOSED} >= OPEN
    assert len(loop.all()) == len(loop.events(EventKind.LABELS_REQUESTED)) == 1
    assert len(loop.queued_jobs()) == 1
    loop.close()


@LONG_ON_POSTGRESQL
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_proposal_is_made_once_wherever_it_dies(tmp_path, moment):
    loop = Loop(tmp_path)
    played(loop, loop.judge)
    assert die_everywhere(loop, moment) > 8
    assert [one.state for one in loop.all()] == [S.PROPOSED]
    loop.close()


def test_a_new_process_goes_on_in_every_state(tmp_path):
    loop = Loop(tmp_path, policy=AUTO)
    acts = [
        loop.judge,
        loop.nominate,
        lambda: loop.label(*(one.sample_id for one in loop.queue())),
        loop.end_job,
        loop.sign,
        lambda: [loop.commit(device_id) for device_id in loop.ids],
    ]
    seen = []
    for act in acts:
        loop.restart()
        played(loop, act)
        loop.restart()
        loop.later(timedelta(seconds=1))
        seen.append(loop.last().state)
    assert seen == [S.NOMINATING, S.LABELLING, S.TRAINING, S.AWAITING_SIGNATURE, S.ROLLING_OUT, S.HEALED]
    loop.close()


def test_when_nothing_happens_nothing_is_written(tmp_path):
    loop = Loop(tmp_path, policy=AUTO)
    loop.judge()
    loop.nominate()
    loop.later(timedelta(seconds=5))
    before = len(loop.events(*EventKind))
    for _ in range(20):
        loop.restart()
        loop.later(timedelta(seconds=1))
    assert len(loop.events(*EventKind)) == before
    loop.close()


def test_a_bug_in_one_retraining_holds_up_no_other(tmp_path):
    loop = Loop(tmp_path, policy=AUTO)
    loop.judge()
    loop.nominate()
    sound = loop.last()
    with loop.database.write() as connection:
        broken = retrainings.get(connection, sound.id)
        values = {name: getattr(broken, name) for name in broken.__slots__}
        values |= {"id": "retrain-0000000000000-000000", "model": "other", "state": S.AWAITING_SIGNATURE}
        retrainings.add(connection, retrainings.Retraining(**values))
    loop.label(*(one.sample_id for one in loop.queue()))
    assert loop.last().state is S.TRAINING
    assert any("retrain-0000000000000-000000" in words for words in loop.bugs.told)
    loop.bugs.told.clear()
    loop.close()
