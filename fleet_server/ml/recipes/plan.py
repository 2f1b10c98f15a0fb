"""What a recipe decided before the first step: everything a repetition needs, except rows and seed."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from numpy.typing import NDArray

from edgeops.artifact.manifest import Budgets, InputWindow, MissingPolicy, Preprocess, Task
from edgeops.data.schema import Schema
from edgeops.digest import digest_bytes
from edgeops.errors import ConfigError
from edgeops.protocol.messages import Digest
from fleet_server.ml.recipes.class_weights import CLASS_OPTION, plan_class_weights
from fleet_server.ml.recipes.target import TARGET_OPTION, Target, plan_target

#: Decisions that came later; where there are none, a recipe is called what it was called before.
_LATER = ("window", "margin", "class_weights", "brought", "source")
#: Every recipe takes them where the task is theirs.
_TASK_OPTIONS = {Task.CLASSIFICATION: CLASS_OPTION, Task.REGRESSION: TARGET_OPTION}
#: Grows when a recipe's code changes what it produces from the same plan.
_REVISION = 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Preprocessing, shapes and the course of training."""

    recipe: str
    preprocess: Preprocess
    missing: MissingPolicy
    #: Of one input, without the batch.
    input_shape: tuple[int, ...]
    is_image: bool
    budgets: Budgets
    epochs: int
    batch_rows: int
    learning_rate: float
    #: Epochs without a better validation loss before training stops.
    patience: int
    #: Half of the batches of images are shifted by up to this many pixels.
    shift_pixels: int = 0
    #: How numbers are learnt; None = classes are.
    target: Target | None = None
    #: How much each class counts, in the schema's order; None = all the same.
    class_weights: tuple[float, ...] | None = None
    #: The rows that one inference sees; None = one row.
    window: InputWindow | None = None
    #: How many times further than nearly all normal windows an alarm begins; None = it raises none.
    margin: float | None = None
    #: The file that a person brought; None = it is trained here.
    brought: Digest | None = None
    #: Digest of the file of a recipe of the owner's own; None = it is one of EdgeOps.
    source: str | None = None

    def digest(self) -> str:
        """Names the recipe with all its decisions; one of the owner's own by its file."""
        if self.source is not None:
            return self.source
        decisions = dataclasses.asdict(self)
        decisions = {name: value for name, value in decisions.items() if value is not None or name not in _LATER}
        document = {"revision": _REVISION, "plan": decisions}
        return digest_bytes(msgspec.json.encode(document, order="sorted"))


def missing_of(schema: Schema) -> MissingPolicy:
    """Standardized columns answer what is missing with their mean, where rows that are learnt from lack values too."""
    return MissingPolicy.NEUTRAL if any(one.missing for one in schema.statistics) else MissingPolicy.REFUSE


def target_of(schema: Schema, targets: NDArray[Any], options: Mapping[str, float | str]) -> Target | None:
    """How the targets (n,) of training rows are learnt; None = they are classes.

    Raises:
        DatasetError: there is nothing to learn.
        ConfigError: an option is unknown.
    """
    return plan_target(targets, options) if schema.task is Task.REGRESSION else None


def class_weights_of(
    schema: Schema, targets: NDArray[Any], options: Mapping[str, float | str]
) -> tuple[float, ...] | None:
    """How much each class of the training rows (n,) counts; None = all the same, or there are no classes.

    Raises:
        ConfigError: an option names no class, or no weight.
    """
    if schema.task is not Task.CLASSIFICATION:
        return None
    return plan_class_weights(schema.classes, targets, options)


def with_task_options(own: frozenset[str], tasks: Collection[Task]) -> frozenset[str]:
    """All options of a recipe that has these of its own and learns these tasks."""
    return own | {_TASK_OPTIONS[task] for task in tasks if task in _TASK_OPTIONS}


def refuse_unknown(options: Mapping[str, float | str], own: frozenset[str], *, recipe: str, schema: Schema) -> None:
    """Refuse options that neither a recipe nor the task has.

    Raises:
        ConfigError: names the option and what there is.
    """
    known = with_task_options(own, (schema.task,))
    for name in options:
        if name not in known:
            raise ConfigError(f"recipe {recipe} has no option {name!r}; it takes {', '.join(sorted(known)) or 'none'}")


def number(options: Mapping[str, float | str], name: str, default: float, *, low: float, high: float) -> float:
    """A numeric option within its bounds.

    Raises:
        ConfigError: no number, or out of bounds.
    """
    given = options.get(name, default)
    try:
        value = float(given)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise ConfigError(f"option {name} is {given!r}; give a number between {low:g} and {high:g}")
    return value
