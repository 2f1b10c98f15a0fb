"""What is known of one version of a model: all that its card and its bill of materials are written from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from edgeops.artifact.manifest import Descriptor, Manifest, Variant
from edgeops.data.schema import Schema
from edgeops.learning.attribution import ColumnShare
from edgeops.learning.folds import Folds
from edgeops.learning.scrutiny import Scrutiny
from edgeops.rollout.blessing import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a device of a class said of a file that it tried."""

    variant: Variant
    device_class: str
    outcome: Outcome
    #: Why, for people.
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One version."""

    model: str
    version: int
    created_at: datetime
    run: str
    #: One of each variant, at least one.
    files: tuple[Descriptor, ...]
    #: Whose snapshot it learnt from and was judged on, and what that says of itself.
    dataset: str
    schema: Schema
    #: Since when the rows are gone; None = they are there.
    erased_at: datetime | None = None
    #: What a person should know of the rows, in words.
    warnings: tuple[str, ...] = ()
    #: What the run found in each file, and in trainings without each fold; none = nobody looked.
    scrutinies: Mapping[Variant, Scrutiny] = field(default_factory=dict)
    folds: Folds | None = None
    #: What the float network goes by.
    shares: tuple[ColumnShare, ...] = ()
    #: Newest first.
    trials: tuple[Trial, ...] = ()

    @property
    def manifest(self) -> Manifest:
        """Of any file: what goes in, what comes out and where it came from is the same in all."""
        return self.files[0].manifest
