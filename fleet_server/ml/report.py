"""Who is told how far a task of the worker is."""

from typing import Protocol

from fleet_server.ml.epoch import Epoch


class Report(Protocol):
    """Takes the news."""

    def __call__(self, step: str, share: float, epoch: Epoch | None = None, /) -> None:
        """The step's name, the share of all steps that is done, and a pass over the rows that is over."""
