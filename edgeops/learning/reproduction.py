"""Judges a training that was repeated: whether each file came out the same, else what changed around it, by name.

A file repeats where everything in its manifest's lineage and in the environment does. Which of the changes found made
the difference cannot be told from outside, so all are named; where none is, the parts that differ are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from edgeops.artifact.manifest import Manifest, Variant
from edgeops.learning.environment import Environment
from edgeops.protocol.messages import Digest

#: How much of a digest or commit a sentence shows.
_SHOWN = 12


class Part(StrEnum):
    """What an artifact consists of."""

    #: The `.tflite` part.
    WEIGHTS = "weights"
    #: The inputs that int8 took its ranges from.
    CALIBRATION = "calibration"
    REFERENCE = "reference"
    #: Inputs and the answers to them.
    GOLDEN = "golden"
    #: What the judge measured.
    METRICS = "metrics"
    CARD = "card"
    #: Recipe, seed, commit and libraries, as the manifest names them.
    LINEAGE = "lineage"
    #: Anything else that the manifest says.
    MANIFEST = "manifest"


class Cause(StrEnum):
    """What may change the bytes of an artifact, though rows, seed and options are the same."""

    #: Other decisions of the recipe, or another revision of its code.
    RECIPE = "recipe"
    LIBRARY = "library"
    PYTHON = "python"
    COMMIT = "commit"
    #: What was not committed.
    DIFFERENCE = "difference"
    THREADS = "threads"
    ARCHITECTURE = "architecture"
    INSTRUCTIONS = "instructions"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not as it was."""

    cause: Cause
    #: Of a library, its name.
    name: str = ""
    before: str
    after: str

    @property
    def words(self) -> str:
        """For people."""
        before, after = (_short(one) for one in (self.before, self.after))
        return f"{self.name or self.cause}: {before} -> {after}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """One artifact, taken apart."""

    digest: Digest
    #: Digest of the `.tflite` part.
    weights: Digest
    manifest: Manifest
    reference: bytes
    golden: bytes
    card: str


class RepeatedVariant(msgspec.Struct, frozen=True, kw_only=True):
    """One file and its repetition."""

    variant: Variant
    before: Digest
    after: Digest
    #: Empty = what was compared is the same.
    differs: tuple[Part, ...] = ()


class Reproduction(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    is_same: bool
    variants: tuple[RepeatedVariant, ...]
    changes: tuple[Change, ...]
    #: Parts that cannot be repeated, for what they were made of was not kept.
    not_compared: tuple[Part, ...]
    #: The verdict for people.
    words: str


def judge_reproduction(
    before: Mapping[Variant, Parts],
    after: Mapping[Variant, Parts],
    *,
    then: Environment,
    now: Environment,
    not_compared: tuple[Part, ...] = (),
) -> Reproduction:
    """Compare the files of a version with their repetitions.

    Args:
        before: the version's, by variant; at least one.
        after: the repetitions, at least the same variants.
        then: where the version was trained.
        now: where it was repeated.
        not_compared: parts that need not be the same.
    """
    variants = tuple(
        RepeatedVariant(
            variant=variant,
            before=kept.digest,
            after=after[variant].digest,
            differs=tuple(part for part in _differing(kept, after[variant]) if part not in not_compared),
        )
        for variant, kept in before.items()
    )
    first = next(iter(before))
    changes = (*_recipe(before[first].manifest, after[first].manifest), *find_changes(then, now))
    is_same = not any(one.differs for one in variants)
    return Reproduction(
        is_same=is_same,
        variants=variants,
        changes=changes,
        not_compared=not_compared,
        words=_conclusion(variants, changes, not_compared),
    )


def find_changes(then: Environment, now: Environment) -> tuple[Change, ...]:
    """What differs between two places where trainings ran, of what may change a bit; what is not known is not told."""
    pairs = (
        (Cause.PYTHON, then.python, now.python),
        (Cause.COMMIT, then.commit, now.commit),
        (Cause.THREADS, str(then.threads or ""), str(now.threads or "")),
        (Cause.ARCHITECTURE, then.architecture, now.architecture),
        (Cause.INSTRUCTIONS, " ".join(then.instructions), " ".join(now.instructions)),
    )
    found = [
        Change(cause=cause, before=before, after=after) for cause, before, after in pairs if before and before != after
    ]
    # No difference is said by None, which is told only where the commit is.
    if then.commit and then.difference != now.difference:
        found.append(Change(cause=Cause.DIFFERENCE, before=then.difference or "none", after=now.difference or "none"))
    for name in sorted(then.libraries.keys() | now.libraries.keys()) if then.libraries else ():
        before, after = (one.libraries.get(name, "none") for one in (then, now))
        if before != after:
            found.append(Change(cause=Cause.LIBRARY, name=name, before=before, after=after))
    return tuple(found)


def _recipe(before: Manifest, after: Manifest) -> Iterator[Change]:
    old, new = before.lineage.recipe_digest, after.lineage.recipe_digest
    if old != new:
        yield Change(cause=Cause.RECIPE, before=old, after=new)


def _differing(before: Parts, after: Parts) -> Iterator[Part]:
    old, new = before.manifest, after.manifest
    if before.weights != after.weights:
        yield Part.WEIGHTS
    if old.lineage.calibration != new.lineage.calibration:
        yield Part.CALIBRATION
    for part in (Part.REFERENCE, Part.GOLDEN, Part.CARD):
        if getattr(before, part) != getattr(after, part):
            yield part
    if old.metrics != new.metrics:
        yield Part.METRICS
    lineage = msgspec.structs.replace(new.lineage, calibration=old.lineage.calibration)
    if old.lineage != lineage:
        yield Part.LINEAGE
    if old != msgspec.structs.replace(new, metrics=old.metrics, lineage=old.lineage):
        yield Part.MANIFEST


def _conclusion(
    variants: tuple[RepeatedVariant, ...], changes: tuple[Change, ...], not_compared: tuple[Part, ...]
) -> str:
    names = ", ".join(one.variant for one in variants)
    aside = f"; not compared, for its inputs are not kept: {', '.join(not_compared)}" if not_compared else ""
    differing = [one for one in variants if one.differs]
    if not differing:
        same = "every compared part" if not_compared else "every byte"
        return f"the same: {same} of {names}{aside}"
    parts = "; ".join(f"{one.variant}: {', '.join(one.differs)}" for one in differing)
    weights = "" if any(Part.WEIGHTS in one.differs for one in differing) else "; the weights are the same"
    around = ", ".join(change.words for change in changes) or "nothing that is known to change it"
    return f"not the same: {parts} differ{weights}; changed since: {around}{aside}"


def _short(text: str) -> str:
    """A digest or commit so far as one tells it from others."""
    bare = text.removeprefix("sha256:")
    return bare[:_SHOWN] if len(bare) >= 40 and " " not in bare else text
