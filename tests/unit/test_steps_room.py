"""Two deployments that fetch at the same time never count on the same free bytes."""

from pathlib import Path

import msgspec
import pytest

from device_agent.facts import device_facts
from device_agent.fetch import NoContactError
from device_agent.steps import Steps, Surroundings
from device_agent.store.slots import Slots
from device_agent.trust import Listed
from edgeops import limits
from edgeops.artifact.manifest import encode_value, target_path
from edgeops.protocol.messages import Reason, UpdateState
from edgeops.update.events import Failed, NoContact
from edgeops.update.update import Update, Wanted
from tests.golden.tiny import tiny_artifact, tiny_descriptor

DESCRIPTOR = tiny_descriptor(tiny_artifact())
TARGET = target_path(DESCRIPTOR.manifest)
UPDATE = Update(
    state=UpdateState.FETCHING,
    wanted=Wanted(epoch=1, revision=1, target=TARGET, digest=DESCRIPTOR.digest, installation=None),
)


class Trust:
    """Lists one model."""

    def check(self, _targets, *, cancelled):
        return Listed(targets={TARGET: encode_value(DESCRIPTOR)}, lengths={})


class Blocks:
    """While it would ask for a block list, `meanwhile` happens; then it loses contact."""

    def __init__(self):
        self.meanwhile = []

    def blob(self, *_args, **_options):
        while self.meanwhile:
            self.meanwhile.pop()()
        raise NoContactError("gone")


class Disk:
    """Has room for one model beside the reserve, less what files take."""

    def __init__(self, folder: Path):
        self._folder = folder

    def facts(self):
        taken = sum(512 * file.stat().st_blocks for file in self._folder.rglob("*.part"))
        free = limits.DISK_RESERVE_BYTES + DESCRIPTOR.size_bytes - taken
        return msgspec.structs.replace(device_facts(self._folder), disk_free_bytes=max(0, free))


@pytest.fixture
def blocks():
    return Blocks()


@pytest.fixture
def deployment(tmp_path, blocks):
    disk = Disk(tmp_path)
    around = Surroundings(spool=None, trust=Trust(), meta=None, blocks=blocks, facts=disk.facts, submit=None)
    return lambda name: Steps(name, tmp_path / name, Slots(tmp_path / name), around)


def fetch(steps):
    return steps.fetch(UPDATE, lambda: False)


def test_what_one_deployment_is_about_to_fetch_is_not_free_for_another(deployment, blocks):
    outcomes = []
    blocks.meanwhile = [lambda: outcomes.append(fetch(deployment("gas-two")))]
    outcomes.append(fetch(deployment("gas-one")))
    refused, waits = outcomes
    assert isinstance(refused, Failed)
    assert refused.reason is Reason.DISK
    assert isinstance(waits, NoContact)


def test_what_a_deployment_claimed_before_is_not_missing_when_it_fetches_again(deployment):
    steps = deployment("gas-one")
    assert isinstance(fetch(steps), NoContact)
    assert isinstance(fetch(steps), NoContact)
