"""What devices refer to, as the control database knows it: artifacts by digest, in pairs too, the rest by id.

Artifacts never change, so they are read once; one that is unknown is asked for again after
ARTIFACTS_REFRESH_INTERVAL. Used by the ingestion thread alone.
"""

import math
import time
from dataclasses import dataclass

from edgeops import limits
from edgeops.artifact.manifest import Manifest
from edgeops.rollout.agreement import agreement_of
from fleet_server.db import benchmarks, models, nominations
from fleet_server.db.benchmarks import Benchmark
from fleet_server.db.database import Database
from fleet_server.db.nominations import Nomination

#: Beyond this everything is forgotten and read again as needed.
_CACHED = 10_000


@dataclass(frozen=True, slots=True)
class Expected:
    """What records about one artifact must look like."""

    #: Watched channels.
    channels: int
    #: Values of one input window.
    readings: int

    @classmethod
    def of(cls, manifest: Manifest) -> "Expected":
        """By the manifest."""
        return cls(channels=len(manifest.channels), readings=manifest.window.rows * len(manifest.window.columns))


class Catalog:
    """Answers from memory where it can."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: None is an unknown artifact; the float is when it was looked for.
        self._artifacts: dict[str, tuple[Expected | None, float]] = {}
        #: By (shadow, in charge).
        self._cells: dict[tuple[str, str], int] = {}

    def artifact(self, digest: str) -> Expected | None:
        """What is known of an artifact; None when this server has none of this digest."""
        now = time.monotonic()
        expected, read_at = self._artifacts.get(digest, (None, -math.inf))
        if expected is None and now - read_at >= limits.ARTIFACTS_REFRESH_INTERVAL.total_seconds():
            with self._database.read() as connection:
                row = models.artifact_by_digest(connection, digest)
            expected = None if row is None else Expected.of(row.describe().manifest)
            if len(self._artifacts) >= _CACHED:
                self._artifacts.clear()
            self._artifacts[digest] = expected, now
        return expected

    def cells(self, shadow: str, charge: str) -> int | None:
        """In how many cells the answers of these two artifacts are counted; None when one of them is not known."""
        pair = (shadow, charge)
        if pair not in self._cells:
            if self.artifact(shadow) is None or self.artifact(charge) is None:
                return None
            with self._database.read() as connection:
                rows = [models.artifact_by_digest(connection, digest) for digest in pair]
            manifests = [row.describe().manifest for row in rows if row is not None]
            if len(manifests) < len(pair):
                return None
            agreement = agreement_of(*manifests)
            if len(self._cells) >= _CACHED:
                self._cells.clear()
            self._cells[pair] = 0 if agreement is None else len(agreement.cells())
        return self._cells[pair]

    def benchmark(self, benchmark_id: str) -> Benchmark | None:
        """One benchmark, or None."""
        with self._database.read() as connection:
            return benchmarks.get(connection, benchmark_id)

    def nomination(self, nomination_id: str) -> Nomination | None:
        """One nomination, or None."""
        with self._database.read() as connection:
            return nominations.get(connection, nomination_id)
