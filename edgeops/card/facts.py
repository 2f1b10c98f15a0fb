"""What is known of one version of a model: all that its card and its bill of materials are written from."""

from dataclasses import dataclass
from datetime import datetime

from edgeops.artifact.manifest import Descriptor, Manifest
from edgeops.data.schema import Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One version."""

    model: str
    version: int
    created_at: datetime
    #: One of each variant, at least one.
    files: tuple[Descriptor, ...]
    #: Whose snapshot it learnt from and was judged on, and what that says of itself.
    dataset: str
    schema: Schema

    @property
    def manifest(self) -> Manifest:
        """Of any file: what goes in, what comes out and where it came from is the same in all."""
        return self.files[0].manifest
