"""Devices as tests of targeting describe them."""

from datetime import UTC, datetime

import msgspec

from edgeops.protocol.messages import DeviceFacts
from edgeops.rollout.candidate import Candidate
from edgeops.rollout.pins import Pin
from edgeops.rollout.targeting import Offer
from tests.golden.tiny import tiny_artifact, tiny_descriptor

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
DIGEST = "sha256:" + "1" * 64
OTHER = "sha256:" + "2" * 64
FACTS = DeviceFacts(
    arch="aarch64", runtime="litert", runtime_version="2.14.0", python="3.11.2", memory_bytes=2**30, disk_free_bytes=2**31
)  # fmt: skip
OFFER = Offer("gas", DIGEST, tiny_descriptor(tiny_artifact()))


def device(name="pump", *deployments, online=True, facts=FACTS, active=None, **labels):
    """`name-0001`, which reports `deployments` (`gas` when none is named)."""
    return Candidate(
        id=f"{name}-0001", name=name, online=online, labels=labels, facts=facts,
        deployments=dict.fromkeys(deployments or ("gas",), active), agent_version="0.1.0.dev0",
    )  # fmt: skip


def other_facts(**changes):
    return msgspec.structs.replace(FACTS, **changes)


def pin(**changes):
    values = {
        "device_id": "pump-0001", "deployment": None, "digest": None, "reason": "it measures for the audit",
        "pinned_by": "ada", "pinned_at": NOW, "until": None,
    }  # fmt: skip
    return Pin(**(values | changes))
