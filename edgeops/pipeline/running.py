"""Looks how the steps of a pipeline stand, and does those that are to be done, by the API alone.

Whether work was done before is known to the server (`fleet_server.known_work`). A run that is interrupted anywhere is
begun again: what ended stays, and a job that still runs is followed.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, assert_never

from edgeops.api.client import Client
from edgeops.api.shapes import Choice, Job
from edgeops.artifact.manifest import Variant
from edgeops.digest import digest_file
from edgeops.folder import digest_folder
from edgeops.pipeline.document import Budgets, Pipeline
from edgeops.pipeline.steps import (
    Kind,
    Stand,
    Standing,
    Step,
    stand_later,
    stand_of_publishing,
    stand_of_work,
    stand_without_choice,
    steps_of,
)

#: Waits until a job ended well and returns it then; is told what it does.
Follow = Callable[[Job, str], Job]


class Course:
    """One pipeline on one server."""

    def __init__(self, client: Client, pipeline: Pipeline, folder: Path) -> None:
        """`folder` is where the pipeline file lies."""
        self._client = client
        self._pipeline = pipeline
        self._folder = folder

    def look(self) -> list[Stand]:
        """How each step stands; nothing is changed."""
        stands: dict[Step, Stand] = {}
        for step in steps_of(self._pipeline):
            first = self._needed(step)
            is_ready = first is None or stands[first].standing is Standing.DONE
            stands[step] = self._stand(step) if is_ready or first is None else stand_later(step, first)
        return list(stands.values())

    def run(self, follow: Follow) -> Iterator[Stand]:
        """Do what is to be done; yields how each step stands once it was seen to.

        Raises:
            EdgeOpsError: a step failed; those before it stay.
        """
        for step in steps_of(self._pipeline):
            stand = self._stand(step)
            jobs: Iterable[Job] = ()
            if stand.standing is Standing.TO_DO:
                jobs = self._begin(step)
            elif stand.job is not None and stand.standing is Standing.RUNNING:
                jobs = (stand.job,)
            ended = [follow(job, str(step)) for job in jobs]
            if ended and step.kind is Kind.PUBLISH:
                stand = self._stand(step)
            elif ended:
                # Its job tells it: a file, which may be large, is not read for its digest once more.
                stand = stand_of_work(step, ended[-1])
            yield stand

    def _needed(self, step: Step) -> Step | None:
        match step.kind:
            case Kind.IMPORT:
                return None
            case Kind.TRAIN:
                return Step(Kind.IMPORT, self._pipeline.models[step.name].dataset)
            case Kind.PUBLISH:
                return Step(Kind.TRAIN, step.name)
            case _:
                assert_never(step.kind)

    def _stand(self, step: Step) -> Stand:
        """How a step stands whose inputs are there."""
        match step.kind:
            case Kind.IMPORT:
                return stand_of_work(step, self._known_import(step.name))
            case Kind.TRAIN:
                return stand_of_work(step, self._client.preview_training(self._training(step.name)))
            case Kind.PUBLISH:
                model, version = self._version(step.name)
                wanted = self._wanted(step.name, model, version)
                if isinstance(wanted, Choice):
                    return stand_without_choice(step, f"{model}@{version}", wanted)
                return stand_of_publishing(
                    step, f"{model}@{version}", self._client.version(model, version).artifacts, wanted
                )
            case _:
                assert_never(step.kind)

    def _begin(self, step: Step) -> Iterator[Job]:
        match step.kind:
            case Kind.IMPORT:
                path, rules = self._file(step.name), self._pipeline.rules[step.name]
                yield self._client.import_dataset(path, name=step.name, rules=rules)
            case Kind.TRAIN:
                yield self._client.train(**self._training(step.name))
            case Kind.PUBLISH:
                model, version = self._version(step.name)
                wanted = self._wanted(step.name, model, version)
                assert not isinstance(wanted, Choice), f"a variant of {step.name} was chosen"
                for variant in wanted:
                    yield self._client.publish(model, version, variant=variant)
            case _:
                assert_never(step.kind)

    def _known_import(self, name: str) -> Job | None:
        path = self._file(name)
        if path.is_dir():
            digest, sent_as = digest_folder(path), f"{path.resolve().name}.zip"
        else:
            digest, sent_as = digest_file(path), path.name
        return self._client.preview_import(name, file=digest, file_name=sent_as, rules=self._pipeline.rules[name])

    def _file(self, name: str) -> Path:
        return self._folder / self._pipeline.datasets[name].file

    def _training(self, name: str) -> dict[str, Any]:
        one = self._pipeline.models[name]
        return {
            "dataset": one.dataset,
            "model": name,
            "recipe": one.recipe,
            "seed": one.seed,
            "epochs": one.epochs,
            "options": one.options,
            "variants": list(one.built),
            "folds": one.folds,
        }

    def _wanted(self, name: str, model: str, version: int) -> Sequence[Variant] | Choice:
        """The variants that shall be listed; a choice = that of which none can be taken."""
        one = self._pipeline.models[name]
        if isinstance(one.publish, tuple):
            return one.publish
        choice = self._client.choice(model, version, **(one.budgets or Budgets()).given())
        return choice if choice.chosen is None else (Variant(choice.chosen),)

    def _version(self, name: str) -> tuple[str, int]:
        job = self._client.preview_training(self._training(name))
        assert job is not None and job.result is not None, f"{name} was trained"  # noqa: PT018 - for the type checker
        return job.result["model"], job.result["version"]
