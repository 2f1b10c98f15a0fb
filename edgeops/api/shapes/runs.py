"""How trainings went, where they ran, and how two of them differ."""

from typing import Any

from edgeops.api.shapes.shape import Answer, Number
from edgeops.artifact.manifest import Variant


class RunEnvironment(Answer):
    """Where a run took place; what is empty is not known."""

    #: Of Python.
    python: str = ""
    #: The operating system, its C library included.
    platform: str = ""
    architecture: str = ""
    processor: str = ""
    #: Instruction sets by which kernels are chosen.
    instructions: tuple[str, ...] = ()
    #: What TensorFlow adds up in.
    threads: int = 0
    #: Version by name.
    libraries: dict[str, str] = {}
    host: str = ""
    #: Of the checkout that the code ran from.
    commit: str = ""
    #: Digest of what was not committed there; null = all was.
    difference: str | None = None


class RunHealing(Answer):
    """What a run healed, and how."""

    #: Artifacts of the model that drifted, by variant.
    champion: dict[Variant, str]
    #: How much one bought row counted against an imported one.
    label_weight: float


class Epoch(Answer):
    """One pass over the training rows."""

    #: From 1.
    number: int
    #: Mean over the rows as they were learnt from, and over the validation rows after it; null = no number.
    training_loss: Number
    validation_loss: Number
    learning_rate: float
    #: Since the first pass began.
    elapsed_s: float


class EnvironmentChange(Answer):
    """Something around two trainings that differs."""

    #: `recipe`, `library`, `python`, `commit`, `difference`, `threads`, `architecture` or `instructions`.
    cause: str
    #: Of a library, its name.
    name: str = ""
    before: str
    after: str


class MeasuredTwice(Answer):
    """One figure of one variant in both runs; null = a run has none."""

    variant: str
    name: str
    values: tuple[float | None, float | None]
    #: In which each lies with 95 % certainty, where it was measured.
    intervals: tuple[tuple[float, float] | None, tuple[float, float] | None] = (None, None)


class RunDifference(Answer):
    """From one run to another."""

    old: str
    new: str
    #: Those that differ, by name: in the first run, and in the second.
    parameters: dict[str, tuple[Any, Any]]
    environment: tuple[EnvironmentChange, ...]
    metrics: tuple[MeasuredTwice, ...]
