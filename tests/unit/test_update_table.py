"""The table of the update machine, its resume lines and its fail points leave nothing out."""

from datetime import timedelta
from typing import get_args

import msgspec
import pytest

from edgeops import limits
from edgeops.errors import MessageError
from edgeops.protocol.messages import DesiredDeployment, Evidence, Reason, UpdateState
from edgeops.update import events, faults, machine
from edgeops.update.machine import RESUME, TABLE, Command
from edgeops.update.update import Update, Wanted

DIGEST = "sha256:" + "a" * 64
WANTED = Wanted(epoch=1, revision=7, target="models/gas/1-int8.json", digest=DIGEST, installation="inst-1")
TRIAL = Update(state=UpdateState.TRIAL, wanted=WANTED, mark=(1, 7), reported=False)


def test_every_state_has_a_resume_line():
    assert set(RESUME) == set(UpdateState)


def test_every_event_and_command_and_state_is_in_the_table():
    assert {event for _, event in TABLE} == set(get_args(events.Event))
    assert {command for _, command in TABLE.values()} == set(Command)
    assert {state for state, _ in TABLE} == set(UpdateState)


def test_only_an_ack_in_trial_leads_to_a_commit():
    assert [key for key, (_, command) in TABLE.items() if command is Command.COMMIT] == [
        (UpdateState.TRIAL, events.Acknowledged)
    ]


def test_only_a_listed_model_or_a_start_in_trial_leads_to_a_trial():
    assert {key for key, (_, command) in TABLE.items() if command is Command.START_TRIAL} == {
        (UpdateState.PROBING, events.Listed),
        (UpdateState.TRIAL, events.Booted),
    }


def test_what_the_table_does_not_list_is_illegal():
    with pytest.raises(AssertionError, match="Acknowledged is illegal in staged"):
        machine.step(Update(state=UpdateState.STAGED, wanted=WANTED), events.Acknowledged())


def test_every_border_has_a_fail_point():
    assert {faults.saved(state) for state in UpdateState} | {
        faults.did(command) for command in Command if faults.did(command)
    } <= set(faults.FailPoint)


def test_an_update_survives_its_json():
    update = msgspec.structs.replace(TRIAL, evidence=Evidence(inferences=20, errors=0), next=WANTED)
    assert msgspec.json.decode(msgspec.json.encode(update), type=Update) == update


def test_a_trial_that_asks_for_no_inference_still_needs_one():
    update = msgspec.structs.replace(TRIAL, wanted=msgspec.structs.replace(WANTED, trial_inferences=0))
    for inferences, passed in ((0, False), (1, True)):
        evidence = Evidence(inferences=inferences, errors=0)
        verdict = machine.trial_verdict(update, evidence, detail="", quiet=timedelta(0))
        assert isinstance(verdict, events.TrialPassed) is passed


@pytest.mark.parametrize(
    ("errors", "quiet", "verdict"),
    [
        (0, timedelta(minutes=9), None),
        (0, timedelta(minutes=10), (Reason.INCONCLUSIVE, "the disk took nothing for 10 minutes")),
        (1, timedelta(0), (Reason.INFERENCE, "boom")),
    ],
)
def test_what_a_disk_does_not_take_note_of_is_inconclusive_unless_the_model_errs(errors, quiet, verdict):
    evidence = Evidence(inferences=limits.TRIAL_INFERENCES, errors=errors)
    failed = machine.unwritten_verdict(evidence, detail="boom", quiet=quiet)
    assert (failed and (failed.reason, failed.detail)) == verdict
    assert failed is None or failed.evidence == evidence


def test_an_older_epoch_is_ignored_whatever_its_revision():
    old = msgspec.structs.replace(WANTED, epoch=0, revision=1000, installation="inst-2")
    assert machine.desired(TRIAL, old, active=None) is None


def test_a_target_without_a_digest_is_refused():
    with pytest.raises(MessageError, match="both or neither"):
        Wanted.of(
            DesiredDeployment(deployment="gas", target="models/gas/1-int8.json", digest=None), epoch=1, revision=1
        )
