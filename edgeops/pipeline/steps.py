"""The steps of a pipeline, and how each stands: what is done need not be done again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from edgeops.api.shapes import Artifact, Choice, Job
from edgeops.artifact.manifest import Variant
from edgeops.pipeline.document import Pipeline


class Kind(StrEnum):
    """What a step does."""

    #: Read a file, clean and split its rows.
    IMPORT = "import"
    #: Train, quantize and judge.
    TRAIN = "train"
    #: Let devices run it.
    PUBLISH = "publish"


class Standing(StrEnum):
    """How a step stands."""

    #: The same was done by the same code, and what came of it holds.
    DONE = "done"
    #: A job is at it, or waits to.
    RUNNING = "running"
    TO_DO = "to do"
    #: A person must act: sign it, or publish what another withdrew.
    WAITS = "waits"
    #: The promotion gate refused the version, or no variant keeps the budgets.
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Step:
    """One step, of a dataset or a model."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        """As people say it."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """How a step stands, and why."""

    step: Step
    standing: Standing
    #: The snapshot, the version, or what is to be done.
    detail: str = ""
    #: The job that did it or is at it.
    job: Job | None = None


def steps_of(pipeline: Pipeline) -> Iterator[Step]:
    """All steps, each after those that it needs."""
    for name in pipeline.datasets:
        yield Step(Kind.IMPORT, name)
    for name, training in pipeline.models.items():
        yield Step(Kind.TRAIN, name)
        if training.publish:
            yield Step(Kind.PUBLISH, name)


def stand_of_work(step: Step, job: Job | None) -> Stand:
    """Of an import or a training, by the job that did the same work."""
    if job is None:
        return Stand(step=step, standing=Standing.TO_DO, detail="never done with these inputs and this code")
    if not job.ended:
        return Stand(step=step, standing=Standing.RUNNING, detail=f"{job.id}: {job.step or job.state}", job=job)
    result = job.result or {}
    made = result["snapshot"] if step.kind is Kind.IMPORT else f"{result['model']}@{result['version']}"
    return Stand(step=step, standing=Standing.DONE, detail=made, job=job)


def stand_of_publishing(step: Step, reference: str, artifacts: Sequence[Artifact], wanted: Sequence[Variant]) -> Stand:
    """Of the variants of a version that shall be listed; who withdrew one meant it, so it is not listed again."""
    by_standing: dict[str, list[str]] = {}
    for one in artifacts:
        if one.variant in wanted:
            by_standing.setdefault(one.standing, []).append(one.variant)
    if withdrawn := by_standing.get("withdrawn"):
        return Stand(
            step=step,
            standing=Standing.WAITS,
            detail=f"{', '.join(withdrawn)} of {reference} was withdrawn; if it shall run after all: edgeops publish "
            f"{reference}",
        )
    refused = [one for one in artifacts if one.variant in wanted and not one.promotion.may_be_listed]
    if refused:
        failed = sorted({rule.name for one in refused for rule in one.promotion.rules if not rule.passed})
        return Stand(
            step=step,
            standing=Standing.REFUSED,
            detail=f"{', '.join(one.variant for one in refused)} of {reference} failed {', '.join(failed)}: edgeops "
            f"model gate {reference}",
        )
    if "not-published" in by_standing:
        return Stand(
            step=step, standing=Standing.TO_DO, detail=f"{', '.join(by_standing['not-published'])} of {reference}"
        )
    if waiting := by_standing.get("awaiting-signature"):
        return Stand(
            step=step,
            standing=Standing.WAITS,
            detail=f"{', '.join(waiting)} of {reference} awaits its signature: edgeops model sign {reference}",
        )
    return Stand(step=step, standing=Standing.DONE, detail=f"{', '.join(by_standing['published'])} of {reference}")


def stand_without_choice(step: Step, reference: str, choice: Choice) -> Stand:
    """Of a version whose smallest variant shall be listed, when none can be taken."""
    told = "; ".join(f"{one.variant}: {', '.join(one.hindrances)}" for one in choice.costs)
    return Stand(step=step, standing=Standing.REFUSED, detail=f"no variant of {reference} can be taken: {told}")


def stand_later(step: Step, first: Step) -> Stand:
    """Of a step whose inputs another one has still to make."""
    return Stand(step=step, standing=Standing.TO_DO, detail=f"after {first}")
