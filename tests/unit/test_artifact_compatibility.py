"""Whether an artifact fits a device, judged before a byte is fetched."""

import msgspec
import pytest

from edgeops import limits
from edgeops.artifact.compatibility import disk_shortage, incompatibilities
from edgeops.protocol.messages import DeviceFacts
from tests.golden.tiny import tiny_artifact, tiny_descriptor

PI = DeviceFacts(
    arch="aarch64", runtime="litert", runtime_version="2.3.0", python="3.13", memory_bytes=2**30, disk_free_bytes=2**30
)


@pytest.fixture(scope="module")
def descriptor():
    return tiny_descriptor(tiny_artifact())


def on(**facts):
    return msgspec.structs.replace(PI, **facts)


def with_ops(descriptor, ops):
    requirements = msgspec.structs.replace(descriptor.manifest.requirements, ops=ops)
    manifest = msgspec.structs.replace(descriptor.manifest, requirements=requirements)
    return msgspec.structs.replace(descriptor, manifest=manifest)


def test_a_pi_with_room_fits(descriptor):
    assert incompatibilities(descriptor, PI) == ()


def test_an_unknown_architecture_is_named(descriptor):
    assert incompatibilities(descriptor, on(arch="riscv64")) == (
        "architecture riscv64, the model holds on x86_64, aarch64, armv7l",
    )


def test_a_device_without_a_runtime_is_refused(descriptor):
    (reason,) = incompatibilities(descriptor, on(runtime=""))
    assert reason.startswith("runtime missing")


def test_tflite_runtime_refuses_operator_versions_that_came_after_it(descriptor):
    old = on(arch="armv7l", runtime="tflite-runtime", runtime_version="2.14.0")
    assert incompatibilities(with_ops(descriptor, {"FULLY_CONNECTED": 4, "SOFTMAX": 2}), old) == ()
    assert incompatibilities(with_ops(descriptor, {"FULLY_CONNECTED": 12}), old) == (
        "operator FULLY_CONNECTED version 12, tflite-runtime 2.14 has 11",
    )
    assert len(incompatibilities(with_ops(descriptor, {"BUILTIN_205": 1, "CUSTOM:Mine": 1}), old)) == 2


def test_litert_is_not_judged_by_operator_versions(descriptor):
    assert incompatibilities(with_ops(descriptor, {"FULLY_CONNECTED": 12}), PI) == ()


def test_an_older_tflite_runtime_is_refused(descriptor):
    (reason,) = incompatibilities(descriptor, on(runtime="tflite-runtime", runtime_version="2.11.0"))
    assert reason == "tflite-runtime 2.11.0, only 2.14 is supported"


def test_memory_is_judged_by_the_larger_of_measured_and_budget(descriptor):
    need = descriptor.manifest.budgets.memory_bytes
    assert incompatibilities(descriptor, on(memory_bytes=2 * need)) == ()
    (reason,) = incompatibilities(descriptor, on(memory_bytes=2 * need - 2))
    assert reason.startswith("8.0 MiB of memory")


def test_disk_keeps_its_reserve(descriptor):
    need = descriptor.size_bytes + limits.DISK_RESERVE_BYTES
    reserve = limits.DISK_RESERVE_BYTES
    assert disk_shortage(descriptor, on(disk_free_bytes=need), reserve_bytes=reserve) is None
    assert "do not fit" in disk_shortage(descriptor, on(disk_free_bytes=need - 1), reserve_bytes=reserve)
    assert disk_shortage(descriptor, on(disk_free_bytes=descriptor.size_bytes), reserve_bytes=0) is None


def test_every_reason_is_given(descriptor):
    assert len(incompatibilities(descriptor, on(arch="mips", runtime="none", memory_bytes=0, disk_free_bytes=0))) == 3


def test_a_column_that_the_deployments_source_lacks_is_named(descriptor):
    facts = on(sensors={"gas": ("x1", "x2", "x3", "temperature"), "pump": ()})
    assert incompatibilities(descriptor, facts, deployment="gas") == (
        "the source of gas lacks x4, which the model reads",
    )


def test_of_a_source_that_offers_more_or_of_which_nothing_is_known_nothing_is_missing(descriptor):
    facts = on(sensors={"gas": ("x4", "x3", "x2", "x1", "x0")})
    for deployment in ("gas", "other", None):
        assert incompatibilities(descriptor, facts, deployment=deployment) == ()
