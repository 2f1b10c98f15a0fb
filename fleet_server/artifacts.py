"""Gives numbers from devices their names back: what the artifact behind a digest says of them.

Artifacts never change, so what was read once is kept; one that this server does not hold is asked for
again.
"""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from edgeops.artifact.manifest import Manifest
from edgeops.artifact.package import open_artifact
from edgeops.errors import EdgeOpsError
from edgeops.sketch.reference import ReferenceProfile, decode_reference
from fleet_server.blobs import Blobs

_KEPT = 64


@dataclass(frozen=True, slots=True)
class KnownArtifact:
    """What is needed to read telemetry and predictions."""

    manifest: Manifest
    #: None when the model watches no channels.
    reference: ReferenceProfile | None


class Artifacts:
    """Artifacts among the blobs, by digest; safe to use from several threads."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._lock = Lock()
        self._known: OrderedDict[str, KnownArtifact] = OrderedDict()

    def get(self, digest: str) -> KnownArtifact | None:
        """The artifact, None when this server does not hold it whole."""
        with self._lock:
            known = self._known.get(digest)
        if known is not None:
            return known
        try:
            artifact = open_artifact(self._blobs.path(digest))
            reference = decode_reference(artifact.reference) if artifact.manifest.channels else None
        except EdgeOpsError:
            # Telemetry must stay readable without it: another server may have published it.
            return None
        known = KnownArtifact(artifact.manifest, reference)
        with self._lock:
            self._known[digest] = known
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return known
