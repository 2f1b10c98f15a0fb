"""The slow steps of an update, each from the world to an event: fetch, verify, stage, probe, ask TUF again.

They run in the deployment's worker thread and are safe to repeat. They change nothing but files below the
deployment's folder, and decide nothing: which step comes when is `edgeops.update.machine`'s table.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from device_agent.fetch import BlockFetch, CancelledError, Download, FetchError, MetaFetch, NoContactError
from device_agent.probe import ProbeVerdict, run_probe
from device_agent.store.slots import Slots
from device_agent.store.spool import Spool
from device_agent.trust import Listed, Trust, TrustRefused, Unreachable
from edgeops.artifact.compatibility import incompatibilities
from edgeops.artifact.manifest import Descriptor, decode_descriptor
from edgeops.artifact.package import open_artifact
from edgeops.digest import digest_file, digest_hex, write_atomically
from edgeops.errors import ArtifactError
from edgeops.protocol.messages import DeviceFacts, Reason
from edgeops.update.events import (
    Event,
    Failed,
    Fetched,
    NoContact,
    ProbePassed,
    Refused,
    Staged,
    Verified,
)
from edgeops.update.events import (
    Listed as StillListed,
)
from edgeops.update.machine import fetch_failure
from edgeops.update.update import Update


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all deployments of a device share."""

    spool: Spool
    trust: Trust
    meta: MetaFetch
    blocks: BlockFetch
    #: What compatibility is judged on, as of now.
    facts: Callable[[], DeviceFacts]
    #: Runs slow work in the deployment's own worker thread, in order.
    submit: Callable[[Callable[[], None]], object]
    #: Tries an artifact where a crash costs nothing.
    probe: Callable[[Path], ProbeVerdict] = run_probe


@dataclass(frozen=True, slots=True)
class Candidate:
    """What an update is about."""

    target: str
    digest: str

    @classmethod
    def of(cls, update: Update) -> "Candidate":
        """Of an update under way, which names both."""
        assert update.wanted is not None
        assert update.wanted.target is not None
        assert update.wanted.digest is not None
        return cls(update.wanted.target, update.wanted.digest)


class Steps:
    """The slow steps of one deployment."""

    def __init__(self, folder: Path, slots: Slots, surroundings: Surroundings) -> None:
        self._folder = folder / "fetch"
        self._slots = slots
        self._around = surroundings

    def fetch(self, update: Update, cancelled: Callable[[], bool]) -> Event:  # noqa: PLR0911 - one return an outcome
        """Trust, then compatibility, then the blocks: nothing is pulled that may not run here."""
        candidate = Candidate.of(update)
        try:
            outcome = self._descriptor(candidate, absent=Reason.NOT_LISTED, cancelled=cancelled)
            if not isinstance(outcome, Descriptor):
                return outcome
            self._forget_others(candidate.digest)
            reasons = incompatibilities(outcome, self._facts(candidate.digest))
            if reasons:
                return Refused(Reason.INCOMPATIBLE, "; ".join(reasons))
            if not self._slots.holds(candidate.digest):
                self._around.blocks.blob(outcome, self._folder, meta=self._around.meta, cancelled=cancelled)
        except (NoContactError, CancelledError):
            return NoContact()
        except ArtifactError as error:
            return Refused(Reason.DIGEST, str(error))
        except FetchError as error:
            return fetch_failure(update, str(error))
        except OSError as error:
            return Failed(Reason.DISK, f"cannot store {candidate.digest}: {error}")
        return Fetched()

    def verify(self, update: Update) -> Event:  # noqa: PLR0911 - one return an outcome
        """Length, digest and structure of the whole file, and that it is what the descriptor describes."""
        candidate = Candidate.of(update)
        if self._slots.holds(candidate.digest):
            return Verified()
        download = Download.of(self._folder, candidate.digest)
        try:
            descriptor = decode_descriptor(self._descriptor_file(candidate.digest).read_bytes())
            size_bytes = download.part.stat().st_size
            if size_bytes != descriptor.size_bytes or digest_file(download.part) != candidate.digest:
                download.forget()
                return fetch_failure(update, f"{candidate.digest} came out wrong on disk")
            if open_artifact(download.part).manifest != descriptor.manifest:
                return Refused(Reason.DIGEST, f"the manifest inside {candidate.digest} is not its descriptor's")
        except ArtifactError as error:
            return Refused(Reason.DIGEST, str(error))
        except FileNotFoundError as error:
            return fetch_failure(update, f"the download is gone: {error}")
        except OSError as error:
            return Failed(Reason.DISK, f"cannot read {candidate.digest}: {error}")
        return Verified()

    def stage(self, update: Update) -> Event:
        """Move the file into its slot."""
        digest = Candidate.of(update).digest
        download = Download.of(self._folder, digest)
        descriptor = self._descriptor_file(digest)
        try:
            if not self._slots.holds(digest):
                self._slots.stage(digest, download.part, descriptor=descriptor.read_bytes())
            download.forget()
            descriptor.unlink(missing_ok=True)
        except FileNotFoundError as error:
            return fetch_failure(update, f"the download is gone: {error}")
        except OSError as error:
            return Failed(Reason.DISK, f"cannot put {digest} into its slot: {error}")
        return Staged()

    def probe(self, update: Update) -> Event:
        """Try it in a child process."""
        verdict = self._around.probe(self._slots.slot(Candidate.of(update).digest).path)
        return ProbePassed() if verdict.reason is Reason.NONE else Failed(verdict.reason, verdict.detail)

    def check_listed(self, update: Update, cancelled: Callable[[], bool]) -> Event:
        """Ask TUF right before it runs; without contact the question stays open."""
        outcome = self._descriptor(Candidate.of(update), absent=Reason.WITHDRAWN, cancelled=cancelled)
        return StillListed() if isinstance(outcome, Descriptor) else outcome

    def _descriptor(
        self, candidate: Candidate, *, absent: Reason, cancelled: Callable[[], bool]
    ) -> Descriptor | Refused | NoContact:
        """What current metadata lists as the candidate's target, if it is that digest."""
        outcome = self._around.trust.check([candidate.target], cancelled=cancelled)
        match outcome:
            case Unreachable():
                return NoContact()
            case TrustRefused(kind, detail):
                return Refused(Reason.TRUST, f"{kind}: {detail}")
            case Listed(targets=targets):
                return self._vouched(candidate, targets.get(candidate.target), absent)

    def _vouched(self, candidate: Candidate, content: bytes | None, absent: Reason) -> Descriptor | Refused:
        if content is None:
            return Refused(absent, f"current metadata does not list {candidate.target}")
        try:
            descriptor = decode_descriptor(content)
        except ArtifactError as error:
            return Refused(absent, f"{candidate.target} is no descriptor that this agent reads: {error}")
        if descriptor.digest != candidate.digest:
            return Refused(
                absent, f"current metadata lists {descriptor.digest} as {candidate.target}, not {candidate.digest}"
            )
        if not self._slots.holds(candidate.digest):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self._descriptor_file(candidate.digest), content)
        return descriptor

    def _descriptor_file(self, digest: str) -> Path:
        return self._folder / f"{digest_hex(digest)}.json"

    def _facts(self, digest: str) -> DeviceFacts:
        """What the candidate takes on disk already needs no room again."""
        facts = self._around.facts()
        taken = 0
        for file in (self._slots.slot(digest).path, Download.of(self._folder, digest).part):
            with suppress(FileNotFoundError):
                taken += 512 * file.stat().st_blocks
        return msgspec.structs.replace(facts, disk_free_bytes=facts.disk_free_bytes + taken)

    def _forget_others(self, digest: str) -> None:
        """Unfinished downloads of what is not wanted any more, and slots beyond those that are kept."""
        self._slots.collect(keep=digest)
        if self._folder.is_dir():
            for file in self._folder.iterdir():
                if file.stem != digest_hex(digest):
                    file.unlink(missing_ok=True)
