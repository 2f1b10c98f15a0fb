"""What all variants of one training share."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Channel
from edgeops.data.schema import Schema
from fleet_server.ml.frames import Bring, Build
from fleet_server.ml.recipes.plan import Plan
from fleet_server.ml.training import Learned
from fleet_server.ml.windows import WindowedSnapshot


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """One training, or a model that a person brought, and what it was made of."""

    task: Build | Bring
    windows: WindowedSnapshot
    plan: Plan
    #: None = nothing was trained in steps.
    learned: Learned | None
    channels: tuple[Channel, ...]
    #: Preprocessed windows for int8.
    calibration: NDArray[np.float32]
    libraries: dict[str, str]
    #: What a person should know of how they were chosen.
    calibration_words: tuple[str, ...] = ()
    #: Where they cover too little, in words.
    calibration_warnings: tuple[str, ...] = ()
    #: A score above it is an alarm; None = the task has none.
    threshold: float | None = None

    @property
    def schema(self) -> Schema:
        """Of the snapshot."""
        return self.windows.snapshot.schema

    @property
    def channel_names(self) -> list[str]:
        """In the order of the manifest."""
        return [channel.name for channel in self.channels]
