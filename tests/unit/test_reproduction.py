"""What is said of a version that was trained again."""

import msgspec
import pytest

from edgeops.artifact.manifest import Variant
from edgeops.learning.environment import Environment
from edgeops.learning.reproduction import Cause, Part, Parts, find_changes, judge_reproduction
from tests.golden.tiny import tiny_manifest

HERE = Environment(
    python="3.11.2", architecture="x86_64", instructions=("avx2", "fma"), threads=1,
    libraries={"keras": "3.15", "numpy": "2.4"}, commit="a" * 40,
)  # fmt: skip


def digest(name):
    return "sha256:" + name * 64


def parts(name="a", **changed):
    given = {
        "digest": digest(name), "weights": digest("1"), "manifest": tiny_manifest(),
        "reference": b"r", "golden": b"g", "card": "card",
    }  # fmt: skip
    return Parts(**(given | changed))


def judged(after, *, now=HERE, **more):
    return judge_reproduction({Variant.INT8: parts()}, {Variant.INT8: after}, then=HERE, now=now, **more)


def with_lineage(**changed):
    manifest = tiny_manifest()
    return msgspec.structs.replace(manifest, lineage=msgspec.structs.replace(manifest.lineage, **changed))


def test_files_that_repeat_every_byte_are_the_same():
    found = judged(parts())
    assert (found.is_same, found.changes) == (True, ())
    assert found.words == "the same: every byte of int8"


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"python": "3.13.1"}, Cause.PYTHON),
        ({"commit": "b" * 40}, Cause.COMMIT),
        ({"difference": digest("d")}, Cause.DIFFERENCE),
        ({"threads": 4}, Cause.THREADS),
        ({"architecture": "aarch64"}, Cause.ARCHITECTURE),
        ({"instructions": ("avx2", "avx512f", "fma")}, Cause.INSTRUCTIONS),
        ({"libraries": {"keras": "3.16", "numpy": "2.4"}}, Cause.LIBRARY),
        ({"libraries": {"keras": "3.15"}}, Cause.LIBRARY),
    ],
)
def test_each_thing_around_a_training_that_changed_is_named(changed, cause):
    now = msgspec.structs.replace(HERE, **changed)
    [change] = find_changes(HERE, now)
    assert change.cause is cause
    assert change.words in judged(parts("b", weights=digest("2")), now=now).words


def test_a_host_of_another_name_and_what_was_not_known_then_are_no_cause():
    assert find_changes(HERE, msgspec.structs.replace(HERE, host="other", processor="other", platform="other")) == ()
    assert find_changes(Environment(), HERE) == ()


def test_another_recipe_is_named_by_its_digest():
    found = judged(parts("b", manifest=with_lineage(recipe_digest=digest("9"))))
    assert [change.cause for change in found.changes] == [Cause.RECIPE]
    assert "recipe: " in found.words
    assert "the weights are the same" in found.words


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"weights": digest("2")}, Part.WEIGHTS),
        ({"reference": b"other"}, Part.REFERENCE),
        ({"golden": b"other"}, Part.GOLDEN),
        ({"card": "other"}, Part.CARD),
        ({"manifest": with_lineage(calibration=digest("7"))}, Part.CALIBRATION),
        ({"manifest": with_lineage(seed=99)}, Part.LINEAGE),
        ({"manifest": msgspec.structs.replace(tiny_manifest(), metrics={"accuracy": 0.1})}, Part.METRICS),
        ({"manifest": msgspec.structs.replace(tiny_manifest(), version="99")}, Part.MANIFEST),
    ],
)
def test_where_nothing_around_changed_the_part_that_differs_is_named(changed, part):
    found = judged(parts("b", **changed))
    assert [one.differs for one in found.variants] == [(part,)]
    assert found.words.endswith("changed since: nothing that is known to change it")
    assert f"int8: {part} differ" in found.words


def test_what_was_made_of_things_that_are_not_kept_is_not_compared_and_that_is_said():
    found = judged(parts("b", reference=b"other"), not_compared=(Part.REFERENCE,))
    assert found.is_same
    assert found.words == (
        "the same: every compared part of int8; not compared, for its inputs are not kept: reference"
    )
    assert not judged(parts("b", reference=b"other", golden=b"x"), not_compared=(Part.REFERENCE,)).is_same
