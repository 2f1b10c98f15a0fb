"""The slow steps of an update, each from the world to an event: fetch, verify, stage, probe, ask TUF again.

They run in the deployment's worker thread and are safe to repeat. They change nothing but files below the
deployment's folder, and decide nothing: which step comes when is `edgeops.update.machine`'s table.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from threading import Lock

import msgspec

from device_agent.fetch import BlockFetch, CancelledError, FetchError, MetaFetch, NoContactError
from device_agent.probe import ProbeVerdict, run_probe
from device_agent.progress import Download
from device_agent.store.slots import Slots
from device_agent.store.spool import Spool
from device_agent.trust import Listed, Trust, TrustRefused, Unreachable
from edgeops import limits
from edgeops.artifact.acceptance import acceptance_path, decode_acceptance, misfit
from edgeops.artifact.compatibility import disk_shortage, incompatibilities
from edgeops.artifact.manifest import Descriptor, auto_model, decode_descriptor, target_path
from edgeops.artifact.package import open_artifact
from edgeops.digest import digest_file, digest_hex, write_atomically
from edgeops.errors import ArtifactError
from edgeops.protocol.messages import DeviceFacts, Reason
from edgeops.rollout.maintenance import unknown_zone
from edgeops.trust.frames import FailureKind
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

#: What TUF's refusal is reported as; all else is TRUST.
_REASONS = {
    FailureKind.EXPIRED: Reason.EXPIRED,
    FailureKind.ROLLBACK: Reason.ROLLBACK,
    FailureKind.LENGTH_OR_HASH: Reason.DIGEST,
}


def _nobody_watches() -> None:
    """For surroundings without a watchdog."""


def _nobody_knows() -> None:
    """For surroundings without a clock."""


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
    #: Called at every turn of a step that may take long in good order, as a fetch by a slow line does.
    turned: Callable[[], None] = _nobody_watches
    #: Tries an artifact, with the acceptance set that it must pass if any, where a crash costs nothing.
    probe: Callable[[Path, Path | None], ProbeVerdict] = run_probe
    #: False = the disk took nothing when the agent started: what is active answers, and nothing is decided.
    has_disk: bool = True
    #: Disk that stays free beside an artifact.
    reserve_bytes: int = limits.DISK_RESERVE_BYTES
    #: What time it is for certain, for maintenance windows; None = that is not known.
    now: Callable[[], datetime | None] = _nobody_knows
    #: Held from the look at what is free until it is taken, so that no two deployments count on the same bytes.
    room: Lock = field(default_factory=Lock)


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


@dataclass(frozen=True, slots=True)
class _Vouched:
    """What current metadata says of a candidate."""

    descriptor: Descriptor
    #: The descriptor as it was signed.
    content: bytes
    #: What a model of a delegated key must pass; None = the targets key signed it.
    acceptance: bytes | None


class Steps:
    """The slow steps of one deployment."""

    def __init__(self, deployment: str, folder: Path, slots: Slots, surroundings: Surroundings) -> None:
        self._deployment = deployment
        self._folder = folder / "fetch"
        self._slots = slots
        self._around = surroundings

    def fetch(self, update: Update, cancelled: Callable[[], bool]) -> Event:  # noqa: PLR0911 - one return an outcome
        """Trust, then compatibility, then the blocks: nothing is pulled that may not run here."""
        candidate = Candidate.of(update)
        try:
            outcome = self._ask(candidate, absent=Reason.NOT_LISTED, cancelled=cancelled)
            if not isinstance(outcome, _Vouched):
                return outcome
            self._forget_others(candidate.digest)
            reasons = self._misfits(update, outcome.descriptor)
            if reasons:
                return Refused(Reason.INCOMPATIBLE, "; ".join(reasons))
            shortage = self._claim(outcome.descriptor)
            if shortage is not None:
                return Failed(Reason.DISK, shortage)
            self._keep(candidate.digest, outcome)
            if not self._slots.holds(candidate.digest):
                self._around.blocks.blob(outcome.descriptor, self._folder, meta=self._around.meta, cancelled=cancelled)
        except (NoContactError, CancelledError):
            return NoContact()
        except ArtifactError as error:
            return Refused(Reason.DIGEST, str(error))
        except FetchError as error:
            return fetch_failure(update, str(error))
        except OSError as error:
            # What is there of it goes, so that the disk takes at least the word of it.
            self._forget(candidate.digest)
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
        """Try it in a child process, a model of a delegated key with its acceptance set."""
        candidate = Candidate.of(update)
        acceptance = self._acceptance_file(candidate.digest) if auto_model(candidate.target) else None
        verdict = self._around.probe(self._slots.slot(candidate.digest).path, acceptance)
        return ProbePassed() if verdict.reason is Reason.NONE else Failed(verdict.reason, verdict.detail)

    def check_listed(self, update: Update, cancelled: Callable[[], bool]) -> Event:
        """Ask TUF right before it runs; without contact the question stays open."""
        candidate = Candidate.of(update)
        outcome = self._ask(candidate, absent=Reason.WITHDRAWN, cancelled=cancelled)
        if not isinstance(outcome, _Vouched):
            return outcome
        if outcome.acceptance is not None and outcome.acceptance != self._kept_acceptance(candidate.digest):
            return Refused(Reason.ACCEPTANCE, "the acceptance set changed after the probe; roll the model out again")
        return StillListed()

    def _misfits(self, update: Update, descriptor: Descriptor) -> tuple[str, ...]:
        """Why it may never turn to it here, for people."""
        windows = () if update.wanted is None else update.wanted.maintenance
        unknown = unknown_zone(windows)
        misfits = incompatibilities(descriptor, self._around.facts(), deployment=self._deployment)
        return misfits if unknown is None else (*misfits, unknown)

    def _ask(
        self, candidate: Candidate, *, absent: Reason, cancelled: Callable[[], bool]
    ) -> _Vouched | Refused | Failed | NoContact:
        """What current metadata lists as the candidate's target, if it is that digest, and what it must pass."""
        model = auto_model(candidate.target)
        asked = [candidate.target] if model is None else [candidate.target, acceptance_path(model)]
        outcome = self._around.trust.check(asked, cancelled=cancelled)
        match outcome:
            case Unreachable():
                return NoContact()
            case TrustRefused(FailureKind.DISK, detail):
                return Failed(Reason.DISK, f"cannot store what TUF lists: {detail}")
            case TrustRefused(kind, detail):
                return Refused(_REASONS.get(kind, Reason.TRUST), f"{kind}: {detail}")
            case Listed(targets=targets):
                vouched = _descriptor(candidate, targets.get(candidate.target), absent)
                if model is None or isinstance(vouched, Refused):
                    return vouched
                return _with_acceptance(vouched, targets.get(acceptance_path(model)))

    def _keep(self, digest: str, vouched: _Vouched) -> None:
        """Beside the download, for the steps that follow: the slot itself holds nothing that can change."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self._slots.holds(digest):
            write_atomically(self._descriptor_file(digest), vouched.content)
        if vouched.acceptance is not None:
            write_atomically(self._acceptance_file(digest), vouched.acceptance)

    def _kept_acceptance(self, digest: str) -> bytes | None:
        try:
            return self._acceptance_file(digest).read_bytes()
        except OSError:
            return None

    def _descriptor_file(self, digest: str) -> Path:
        return self._folder / f"{digest_hex(digest)}.json"

    def _acceptance_file(self, digest: str) -> Path:
        return self._folder / f"{digest_hex(digest)}.acceptance"

    def _claim(self, descriptor: Descriptor) -> str | None:
        """Take the room for a download unless it is here; why there is none, or None."""
        with self._around.room:
            shortage = self._shortage(descriptor)
            if shortage is None and not self._slots.holds(descriptor.digest):
                Download.of(self._folder, descriptor.digest).claim(descriptor.size_bytes)
            return shortage

    def _shortage(self, descriptor: Descriptor) -> str | None:
        """Why it does not fit the disk, also without any slot that is not needed; None = it fits."""
        shortage = disk_shortage(descriptor, self._facts(descriptor.digest), reserve_bytes=self._around.reserve_bytes)
        if shortage is None:
            return None
        self._slots.collect(keep=descriptor.digest, idle=0)
        return disk_shortage(descriptor, self._facts(descriptor.digest), reserve_bytes=self._around.reserve_bytes)

    def _forget(self, digest: str) -> None:
        with suppress(OSError):
            Download.of(self._folder, digest).forget()

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


def _descriptor(candidate: Candidate, content: bytes | None, absent: Reason) -> _Vouched | Refused:
    """The candidate's descriptor, under the name that it gives itself."""
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
    own = target_path(descriptor.manifest, auto=auto_model(candidate.target) is not None)
    if candidate.target != own:
        # Else the key of one model could sign another one, past that one's acceptance set.
        return Refused(Reason.TRUST, f"{candidate.target} is the descriptor of another model: {own}")
    return _Vouched(descriptor, content, None)


def _with_acceptance(vouched: _Vouched, content: bytes | None) -> _Vouched | Refused:
    """Add the set that a model of a delegated key must pass; nothing is pulled that could not be judged."""
    manifest = vouched.descriptor.manifest
    if content is None:
        return Refused(Reason.ACCEPTANCE, f"current metadata does not list {acceptance_path(manifest.name)}")
    try:
        why = misfit(decode_acceptance(content), manifest)
    except ArtifactError as error:
        why = str(error)
    if why is not None:
        return Refused(Reason.ACCEPTANCE, f"{acceptance_path(manifest.name)} cannot judge this model: {why}")
    return replace(vouched, acceptance=content)
