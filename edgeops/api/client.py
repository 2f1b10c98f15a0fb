"""The REST client: one method per question, typed answers, one error per culprit.

It talks to one server and keeps no state but its connections. It computes nothing: what an answer
means is for the caller.
"""

import random
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from edgeops import limits
from edgeops.api import shapes
from edgeops.api.auditing import AuditCalls
from edgeops.api.benchmarking import BenchmarkCalls
from edgeops.api.hooks import WebhookCalls
from edgeops.api.roles import Role
from edgeops.api.targets import Groups, Pins
from edgeops.api.waiting import POLL_MAX, wait
from edgeops.api.wire import Wire
from edgeops.api.wire import segment as _segment
from edgeops.errors import (
    InputError,
    UnreachableError,
)
from edgeops.folder import FolderStream, open_folder

_ANSWER_TIMEOUT = timedelta(seconds=60)
#: A server that does not come back within this is gone.
_PATIENCE = timedelta(minutes=1)


class Client:
    """A fleet server at `url` (`http://127.0.0.1:8470`), spoken to with one bearer token.

    `context` says whom to believe over HTTPS; None = whom the system believes.

    Raises, from every method:
        UnreachableError: no answer, or not one of this API.
        AccessError: no token, a wrong one, or one whose role may not do this.
        NotFoundError, ConflictError: the thing is unknown, or in a state that does not allow it.
        InputError: a value that the server cannot use; the message names the field.
        ServerError: everything else the server could not do.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: timedelta = _ANSWER_TIMEOUT,
        context: ssl.SSLContext | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._wire = Wire(url, token, timeout=timeout, context=context, transport=transport)
        #: Devices under names, and devices that stay on what they run.
        self.groups = Groups(self._wire)
        self.pins = Pins(self._wire)

    @property
    def audit(self) -> AuditCalls:
        """The audit trail."""
        return AuditCalls(self._wire)

    @property
    def benchmarks(self) -> BenchmarkCalls:
        """Published artifacts that devices try."""
        return BenchmarkCalls(self._wire)

    @property
    def webhooks(self) -> WebhookCalls:
        """Who else is told what happens."""
        return WebhookCalls(self._wire)

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._wire.url

    def close(self) -> None:
        """Give back the connections."""
        self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- the server, tokens and keys

    def health(self) -> shapes.Health:
        """Whether the API answers; needs no token."""
        return self._wire.get("/health", shapes.Health)

    def last_restoration(self) -> shapes.Restoration | None:
        """When the server came out of a backup, if it did."""
        return next(iter(self._wire.get("/restorations", shapes.Restorations).restorations), None)

    def keys(self) -> tuple[shapes.Key, ...]:
        """All keys of the fleet, by their public halves."""
        return self._wire.get("/keys", shapes.Keys).keys

    def signed_today(self) -> shapes.SignedToday:
        """What is signed offline today: what a change begins with."""
        return self._wire.get("/keys/today", shapes.SignedToday)

    def next_key(self, role: shapes.KeyRole | str, *, model: str | None = None) -> shapes.NextKey:
        """Have the server make a key of its own that a change shall trust."""
        return self._wire.post("/keys/next", shapes.NextKey, {"role": str(role), "model": model})

    def authorities(self) -> shapes.Authorities:
        """The fleet's CAs, and the certificate that the server shows."""
        return self._wire.get("/authorities", shapes.Authorities)

    def next_authority(self) -> shapes.Authority:
        """Have the server make a CA that a change shall list."""
        return self._wire.post("/authorities", shapes.Authority)

    def switch_authority(self) -> shapes.Authority:
        """Let the newest CA sign the server's certificate now."""
        return self._wire.post("/authorities/switch", shapes.Authority)

    def submit_change(self, change: bytes) -> shapes.Submitted:
        """Publish a change that enough people signed; its file's content."""
        return self._wire.ask("POST", "/keys/changes", shapes.Submitted, content=change)

    def tokens(self) -> Iterator[shapes.Token]:
        """All API tokens, without secrets."""
        return self._wire.pages("/tokens", shapes.Page[shapes.Token])

    def create_token(self, name: str, role: Role | str) -> shapes.NewToken:
        """A new API token; the answer is the only place where its secret is ever shown."""
        return self._wire.post("/tokens", shapes.NewToken, {"name": name, "role": str(role)})

    def revoke_token(self, token_id: str) -> None:
        """From now on the token opens nothing."""
        self._wire.send("DELETE", f"/tokens/{_segment(token_id)}")

    def enrolment_tokens(self, count: int = 1) -> tuple[shapes.EnrolmentToken, ...]:
        """One-time tokens, each for one device."""
        return self._wire.post("/enrolment-tokens", shapes.EnrolmentTokens, {"count": count}).tokens

    def enrol(
        self, token: str, name: str, *, hardware: str, public_key: str, agent_version: str = ""
    ) -> shapes.Enrolment:
        """Introduce a device with its own public key (64 hex characters); needs no API token."""
        body = {
            "token": token,
            "name": name,
            "hardware": hardware,
            "public_key": public_key,
            "agent_version": agent_version,
        }
        return self._wire.post("/enrol", shapes.Enrolment, body)

    # -- devices

    def devices(self) -> Iterator[shapes.Device]:
        """All enrolled devices."""
        return self._wire.pages("/devices", shapes.Page[shapes.Device])

    def device(self, device_id: str) -> shapes.Device:
        """One device, with what it shall run and what it does run."""
        return self._wire.get(f"/devices/{_segment(device_id)}", shapes.Device)

    def remove_device(self, device_id: str) -> None:
        """Take a device out of the fleet for good; what it said stays."""
        self._wire.send("DELETE", f"/devices/{_segment(device_id)}")

    def release_device(self, device_id: str) -> shapes.Device:
        """Believe a device again that was in quarantine."""
        return self._wire.post(f"/devices/{_segment(device_id)}/release", shapes.Device)

    def why(self, device_id: str) -> shapes.Why:
        """What holds each deployment of a device."""
        return self._wire.get(f"/devices/{_segment(device_id)}/why", shapes.Why)

    def label_device(self, device_id: str, labels: Mapping[str, str], *, without: Sequence[str] = ()) -> shapes.Device:
        """Give a device labels, and take others from it; those that are not named stay."""
        body = {"set": dict(labels), "remove": list(without)}
        return self._wire.post(f"/devices/{_segment(device_id)}/labels", shapes.Device, body)

    def telemetry(
        self,
        device_id: str,
        *,
        deployment: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        channel: str | None = None,
    ) -> Iterator[shapes.TelemetryWindow]:
        """Windows that closed between `since` and `until`, oldest first."""
        query = {"deployment": deployment, "from": since, "to": until, "channel": channel}
        return self._wire.pages(f"/devices/{_segment(device_id)}/telemetry", shapes.Page[shapes.TelemetryWindow], query)

    def hourly_telemetry(
        self,
        device_id: str,
        *,
        deployment: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        channel: str | None = None,
    ) -> Iterator[shapes.TelemetryHour]:
        """Windows summed by the hour, for hours that began between `since` and `until`, oldest first."""
        query = {"deployment": deployment, "from": since, "to": until, "channel": channel, "resolution": "hour"}
        return self._wire.pages(f"/devices/{_segment(device_id)}/telemetry", shapes.Page[shapes.TelemetryHour], query)

    def fleet_telemetry(
        self,
        *,
        deployment: str | None = None,
        model: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[shapes.FleetHour]:
        """Windows of all devices summed by hour, deployment and artifact, oldest first."""
        query = {"deployment": deployment, "model": model, "from": since, "to": until}
        return self._wire.pages("/fleet/telemetry", shapes.Page[shapes.FleetHour], query)

    def arrivals(
        self, *, since: datetime | None = None, device: str | None = None, deployment: str | None = None
    ) -> Iterator[shapes.TelemetryWindow]:
        """Windows of all devices that the server received at `since` or later, in the order of arrival."""
        query = {"since": since, "device": device, "deployment": deployment, "limit": limits.MAX_PAGE_SIZE}
        return self._wire.pages("/fleet/windows", shapes.Page[shapes.TelemetryWindow], query)

    def latest_arrivals(
        self, count: int, *, device: str | None = None, deployment: str | None = None
    ) -> tuple[shapes.TelemetryWindow, ...]:
        """The last `count` windows that the server received, in the order of arrival."""
        query = {"latest": count, "device": device, "deployment": deployment}
        return tuple(self._wire.pages("/fleet/windows", shapes.Page[shapes.TelemetryWindow], query))

    def latest_predictions(self, device_id: str) -> tuple[shapes.Prediction, ...]:
        """The newest answer of each deployment."""
        return tuple(
            self._wire.pages(f"/devices/{_segment(device_id)}/predictions/latest", shapes.Page[shapes.Prediction])
        )

    def predictions(
        self, device_id: str, deployment: str | None = None, digest: str | None = None
    ) -> Iterator[shapes.Prediction]:
        """All kept answers."""
        query = {"deployment": deployment, "digest": digest, "limit": limits.MAX_PAGE_SIZE}
        return self._wire.pages(f"/devices/{_segment(device_id)}/predictions", shapes.Page[shapes.Prediction], query)

    def quarantine(self, device_id: str | None = None) -> Iterator[shapes.QuarantinedMessage]:
        """Messages that were not believed, newest first, of all devices or one."""
        return self._wire.pages("/quarantine", shapes.Page[shapes.QuarantinedMessage], {"device": device_id})

    def attempts(self, device_id: str | None = None) -> Iterator[shapes.Event]:
        """What the broker refused, which floods it dropped and what was put aside, oldest first, of all or of one."""
        query = {"kind": shapes.ATTEMPTS, "subject": device_id, "limit": limits.MAX_PAGE_SIZE}
        return self._wire.pages("/events", shapes.Page[shapes.Event], query)

    def incidents(self, *, is_open: bool | None = None, device_id: str | None = None) -> Iterator[shapes.Incident]:
        """What devices run that they should not, the latest first: all, those that are open, or the others."""
        query = {"open": None if is_open is None else str(is_open).lower(), "device": device_id}
        return self._wire.pages("/incidents", shapes.Page[shapes.Incident], query)

    def close_incident(self, incident_id: str, *, remark: str = "") -> shapes.Incident:
        """Say that somebody looked at it."""
        return self._wire.post(f"/incidents/{_segment(incident_id)}/close", shapes.Incident, {"remark": remark})

    # -- what happened

    def events(
        self, *, after: int | None = None, kinds: Sequence[str] = (), subject: str | None = None
    ) -> Iterator[shapes.Event]:
        """Events as they happen, without end: those behind the id `after` (0 = all kept; None = only new ones).

        A connection that is lost is taken up again where it broke off; none is repeated or left out. A `kinds` entry
        such as `rollout.` stands for all kinds that begin so.

        Raises:
            UnreachableError: there is no server now, or none again for a minute.
        """
        query = {"kind": tuple(kinds), "subject": subject}
        last_id = None if after is None else str(after)
        lost_at: float | None = None
        while True:
            try:
                for message in self._wire.messages("/events/stream", query, last_id=last_id):
                    lost_at = None
                    last_id = message.last_id or last_id
                    if message.data:
                        yield self._wire.event(message)
            except UnreachableError:
                now = time.monotonic()
                lost_at = lost_at or now
                if last_id is None or now - lost_at > _PATIENCE.total_seconds():
                    raise
            time.sleep(POLL_MAX.total_seconds() * random.uniform(0.5, 1.0))  # noqa: S311 - spreads clients

    def past_events(
        self, *, after: int = 0, kinds: Sequence[str] = (), subject: str | None = None
    ) -> Iterator[shapes.Event]:
        """Events that happened until now and are kept, oldest first, those behind the id `after`."""
        query = {"kind": tuple(kinds), "subject": subject, "after": after, "limit": limits.MAX_PAGE_SIZE}
        return self._wire.pages("/events", shapes.Page[shapes.Event], query)

    # -- samples

    def sample(self, sample_id: str) -> shapes.Sample:
        """One nominated input, with its readings."""
        return self._wire.get(f"/samples/{_segment(sample_id)}", shapes.Sample)

    def samples(self, model: str, *, device: str | None = None) -> Iterator[shapes.Sample]:
        """Nominated inputs that artifacts of a model answered, newest first, without readings."""
        return self._wire.pages(f"/models/{_segment(model)}/samples", shapes.Page[shapes.Sample], {"device": device})

    # -- data, runs, models

    def datasets(self) -> Iterator[shapes.Dataset]:
        """All datasets."""
        return self._wire.pages("/datasets", shapes.Page[shapes.Dataset])

    def dataset(self, name: str) -> shapes.Dataset:
        """One dataset with its snapshots."""
        return self._wire.get(f"/datasets/{_segment(name)}", shapes.Dataset)

    def import_dataset(
        self,
        path: Path,
        *,
        name: str,
        rules: str = "",
        report: Callable[[float], None] = lambda _share: None,
        **given: Any,
    ) -> shapes.Job:
        """Upload a file or a folder; the job's result names the snapshot.

        Args:
            path: CSV, JSONL, Parquet, npz, or a folder of pictures or recordings, zipped or not.
            name: of the dataset.
            rules: TOML (docs/data.md).
            report: of a folder, is told the share of its bytes that was read.
            given: fields of `shapes.DatasetRequest`, which come before the rules; None = not given.

        Raises:
            InputError: the file cannot be read, or the folder holds more than may be imported.
        """
        form = _given({"name": name, "rules": rules, **{key: _field(value) for key, value in given.items()}})
        return self._upload_data("/datasets", path, form, report=report)

    def preview_import(self, name: str, *, file: str, file_name: str, rules: str = "") -> shapes.Job | None:
        """The job that made the dataset of the file with this digest, or is at it; None = it is to be imported."""
        body = {"name": name, "file": file, "file_name": file_name, "rules": rules}
        return self._wire.post("/datasets/preview", shapes.WorkPreview, body).job

    def import_samples(self, name: str, model: str, **how: Any) -> shapes.Job:
        """Make a dataset of the labelled samples of a model; `how`: split, hold_out, seed; None = not given."""
        return self._wire.post("/datasets/samples", shapes.Job, _given({"name": name, "model": model, **how}))

    def inspect_file(self, path: Path, *, report: Callable[[float], None] = lambda _share: None) -> shapes.Job:
        """Upload a file or a folder to be looked at; the job's result is an `edgeops.data.inspection.Inspection`.

        Raises:
            InputError: the file cannot be read, or the folder holds more than may be imported.
        """
        return self._upload_data("/datasets/inspect", path, {}, report=report)

    def _upload_data(
        self, address: str, path: Path, form: dict[str, Any], *, report: Callable[[float], None]
    ) -> shapes.Job:
        """Send a file, or a folder as a zip."""
        if not path.is_dir():
            return self._upload(address, path, form)
        with open_folder(path) as folder:
            if folder.size_bytes > limits.MAX_UPLOAD_BYTES:
                raise InputError(
                    f"{path} holds {folder.size_bytes} bytes, an upload has {limits.MAX_UPLOAD_BYTES} at most; "
                    "import a part of it"
                )
            file = (f"{path.resolve().name}.zip", FolderStream(folder, report=report))
            return self._wire.ask("POST", address, shapes.Job, data=form, files={"file": file})

    def _upload(self, address: str, path: Path, form: dict[str, Any]) -> shapes.Job:
        try:
            file = path.open("rb")
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from error
        with file:
            return self._wire.ask("POST", address, shapes.Job, data=form, files={"file": (path.name, file)})

    def dataset_rows(self, name: str, split: str = "evaluation") -> bytes:
        """The rows of a split without labels, as npz: `X` and `id`."""
        return self._wire.send("GET", f"/datasets/{_segment(name)}/rows", query={"split": split}).content

    def dataset_labels(self, name: str, split: str = "evaluation") -> bytes:
        """The labels of a split, as CSV: `id,label`."""
        query = {"split": split, "labels": "true"}
        return self._wire.send("GET", f"/datasets/{_segment(name)}/rows", query=query).content

    def dataset_difference(self, old: str, new: str) -> shapes.DatasetDifference:
        """How two snapshots differ: each a dataset, whose newest is meant, or a digest."""
        return self._wire.get(f"/datasets/{_segment(old)}/difference", shapes.DatasetDifference, query={"to": new})

    def dataset_quarantine(self, name: str) -> bytes:
        """The refused rows of the newest snapshot, as gzip JSONL."""
        return self._wire.send("GET", f"/datasets/{_segment(name)}/quarantine").content

    def dataset_group(self, name: str, group: str) -> shapes.GroupKnowledge:
        """Which snapshots hold rows of a group (a device, a person), and what learnt from them."""
        return self._wire.get(f"/datasets/{_segment(name)}/groups", shapes.GroupKnowledge, query={"group": group})

    def forget_group(self, name: str, group: str, *, erase: bool = False) -> shapes.Job:
        """Make a snapshot without a group the newest; `erase` = delete the snapshots that hold it."""
        verb = "erase" if erase else "forget"
        return self._wire.post(f"/datasets/{_segment(name)}/{verb}", shapes.Job, {"group": group})

    def runs(self, model: str | None = None) -> Iterator[shapes.Run]:
        """Trainings, newest first, of all models or one."""
        return self._wire.pages("/runs", shapes.Page[shapes.Run], {"model": model})

    def run(self, run_id: str) -> shapes.Run:
        """One training."""
        return self._wire.get(f"/runs/{_segment(run_id)}", shapes.Run)

    def epochs(self, run_id: str, *, after: int = 0) -> Iterator[shapes.Epoch]:
        """How a training went, pass by pass, behind the number `after`; while it runs, as far as it is."""
        query = {"after": after, "limit": limits.MAX_PAGE_SIZE}
        return self._wire.pages(f"/runs/{_segment(run_id)}/epochs", shapes.Page[shapes.Epoch], query)

    def recipes(self) -> Iterator[shapes.Recipe]:
        """How models can be learnt: by EdgeOps, and by files of the server's owner."""
        return self._wire.pages("/recipes", shapes.Page[shapes.Recipe])

    def run_difference(self, old: str, new: str) -> shapes.RunDifference:
        """How two runs differ: what they were asked, where they ran, what was measured."""
        return self._wire.get(f"/runs/{_segment(old)}/difference", shapes.RunDifference, {"to": new})

    def run_picture(self, run_id: str, *, beside: Sequence[str] = ()) -> bytes:
        """The losses of a run over its epochs, and of others beside it (SVG)."""
        return self._wire.send("GET", f"/runs/{_segment(run_id)}/picture", query={"beside": tuple(beside)}).content

    def train(
        self,
        dataset: str,
        model: str,
        *,
        recipe: str | None = None,
        seed: int | None = None,
        epochs: int | None = None,
        options: Mapping[str, float | str] | None = None,
        variants: Sequence[str] | None = None,
        folds: int | None = None,
    ) -> shapes.Job:
        """Train on the newest snapshot of a dataset; the job's result names the version.

        `options` are the recipe's own, such as `batch`.
        """
        body = {
            "dataset": dataset,
            "model": model,
            "recipe": recipe,
            "seed": seed,
            "epochs": epochs,
            "options": options,
            "variants": variants,
            "folds": folds,
        }
        return self._wire.post("/runs", shapes.Job, _given(body))

    def preview_training(self, training: Mapping[str, Any]) -> shapes.Job | None:
        """The job that trained the very same, or is at it; None = it is to be trained.

        `training` has the fields of `shapes.RunRequest`.
        """
        return self._wire.post("/runs/preview", shapes.WorkPreview, _given(training)).job

    def bring_model(self, path: Path, *, name: str, dataset: str, **given: Any) -> shapes.Job:
        """Upload a model that was made elsewhere; the job's result names the version, which nobody published yet.

        Args:
            path: a .tflite, a .keras, or a zip of a SavedModel folder.
            name: of the model.
            dataset: a dataset, or a snapshot by its digest, whose rows calibrate and judge it.
            given: fields of `shapes.BroughtRequest`; None = not given.

        Raises:
            InputError: the file cannot be read.
        """
        form = {"name": name, "dataset": dataset, **{key: _field(value) for key, value in given.items()}}
        return self._upload("/models", path, _given(form))

    def models(self) -> Iterator[shapes.Model]:
        """All models."""
        return self._wire.pages("/models", shapes.Page[shapes.Model])

    def model(self, name: str) -> shapes.Model:
        """One model with its versions."""
        return self._wire.get(f"/models/{_segment(name)}", shapes.Model)

    def version(self, name: str, version: int) -> shapes.Version:
        """One version with its artifacts, labels, columns and channels."""
        return self._wire.get(_place(name, version), shapes.Version)

    def choice(self, name: str, version: int, **budgets: float | None) -> shapes.Choice:
        """Which variant to take; `budgets`: loss_points, size_bytes, p95_latency_ms; None = not given."""
        return self._wire.get(f"{_place(name, version)}/choice", shapes.Choice, query=_given(budgets))

    def choice_picture(self, name: str, version: int, **budgets: float | None) -> bytes:
        """The same as SVG."""
        return self._wire.send("GET", f"{_place(name, version)}/choice.svg", query=_given(budgets)).content

    def card(self, name: str, version: int, *, as_: str, variant: str | None = None) -> bytes:
        """What a version is for, made of, worth and not able to, as `html` or `markdown`."""
        query = _given({"as": as_, "variant": variant})
        return self._wire.send("GET", f"{_place(name, version)}/card", query=query).content

    def bill(self, name: str, version: int) -> bytes:
        """What a version is made of, as a CycloneDX document."""
        return self._wire.send("GET", f"{_place(name, version)}/bom").content

    def artifact(self, name: str, version: int, variant: str) -> bytes:
        """The file of one variant, as devices get it."""
        return self._wire.send("GET", _artifact(name, version, variant)).content

    def descriptor(self, name: str, version: int, variant: str) -> bytes:
        """The exact bytes that TUF signs for one variant."""
        return self._wire.send("GET", f"{_artifact(name, version, variant)}/descriptor").content

    def aliases(self, name: str) -> Iterator[shapes.AliasChange]:
        """How champion and challenger of a model went from version to version, newest first."""
        return self._wire.pages(f"/models/{_segment(name)}/aliases", shapes.Page[shapes.AliasChange])

    def set_alias(self, name: str, alias: shapes.Alias, version: int | None, *, remark: str = "") -> shapes.AliasChange:
        """Give an alias to a version, or to none."""
        body = {"version": version, "remark": remark}
        path = f"/models/{_segment(name)}/aliases/{alias}"
        return self._wire.ask("PUT", path, shapes.AliasChange, json=body)

    def history(self, name: str, *, version: int | None = None) -> Iterator[shapes.Stay]:
        """Where a model ran, from when to when; what came last comes first."""
        return self._wire.pages(f"/models/{_segment(name)}/history", shapes.Page[shapes.Stay], {"version": version})

    def lineage(self, name: str, version: int) -> shapes.Lineage:
        """What a version was made of."""
        return self._wire.get(f"/models/{_segment(name)}/versions/{version}/lineage", shapes.Lineage)

    def answered(self, device_id: str, deployment: str, input_id: str | None = None) -> tuple[shapes.Answered, ...]:
        """Which version answered an input of a deployment, or gave its latest answer."""
        query = {"deployment": deployment, "input": input_id}
        return tuple(self._wire.pages(f"/devices/{_segment(device_id)}/lineage", shapes.Page[shapes.Answered], query))

    def reproduce(self, name: str, version: int) -> shapes.Job:
        """Train a version again and compare; the job's result is a `Reproduction` (`edgeops.learning.reproduction`)."""
        return self._wire.post(f"/models/{_segment(name)}/versions/{version}/reproduce", shapes.Job)

    def publish(self, name: str, version: int, *, variant: str | None = None) -> shapes.Job:
        """Sign and list the artifacts of a version."""
        return self._wire.post(f"/models/{_segment(name)}/versions/{version}/publish", shapes.Job, {"variant": variant})

    def override_gate(self, name: str, version: int, *, remark: str, variant: str | None = None) -> shapes.Job:
        """Go past the promotion gate of a version's artifacts, then sign and list them; None = all that it refused."""
        path = f"/models/{_segment(name)}/versions/{version}/override"
        return self._wire.post(path, shapes.Job, {"remark": remark, "variant": variant})

    def promotion_policy(self, model: str) -> shapes.PromotionPolicy:
        """What the rules of a model's promotion gate tolerate."""
        return self._wire.get(f"/models/{_segment(model)}/promotion/policy", shapes.PromotionPolicy)

    def set_promotion_policy(
        self, model: str, values: Mapping[str, Any], *, edition: int | str | None = None
    ) -> shapes.PromotionPolicy:
        """Make these the limits of a model, if they still are that `edition`; what is not named is the default."""
        path = f"/models/{_segment(model)}/promotion/policy"
        return self._wire.ask("PUT", path, shapes.PromotionPolicy, edition=edition, json=dict(values))

    def withdraw(self, name: str, version: int, *, variant: str | None = None) -> shapes.Job:
        """List the artifacts of a version no longer."""
        return self._wire.post(
            f"/models/{_segment(name)}/versions/{version}/withdraw", shapes.Job, {"variant": variant}
        )

    # -- drift

    def drift(
        self, model: str, *, version: int | None = None, deployment: str | None = None, device: str | None = None
    ) -> shapes.Drift:
        """What monitoring said last of a model, where it runs now; of one version also where it runs no more."""
        query = {"version": version, "deployment": deployment, "device": device}
        return self._wire.get(f"/models/{_segment(model)}/drift", shapes.Drift, query)

    def check_drift(
        self, model: str, *, version: int | None = None, deployment: str | None = None, device: str | None = None
    ) -> shapes.Drift:
        """Judge every window that came until now, and answer like `drift`."""
        query = {"version": version, "deployment": deployment, "device": device}
        return self._wire.ask("POST", f"/models/{_segment(model)}/drift/check", shapes.Drift, query=query)

    def drift_history(
        self, model: str, *, version: int | None = None, deployment: str | None = None, device: str | None = None
    ) -> Iterator[shapes.DriftFinding]:
        """All findings of a model, the latest first; `device` as an empty text = of fleets only."""
        query = {"version": version, "deployment": deployment, "device": device}
        return self._wire.pages(f"/models/{_segment(model)}/drift/history", shapes.Page[shapes.DriftFinding], query)

    # -- labels

    def label_queue(self, model: str, *, state: str = "open") -> Iterator[shapes.QueuedSample]:
        """The samples of a model that were chosen for a label, those that help most first."""
        path = f"/models/{_segment(model)}/labels/queue"
        return self._wire.pages(path, shapes.Page[shapes.QueuedSample], {"state": state})

    def label_queue_csv(self, model: str) -> bytes:
        """The open queue as a file whose column `label` is to be filled in, for `import_labels`."""
        return self._wire.send("GET", f"/models/{_segment(model)}/labels/queue.csv").content

    def add_labels(
        self, labels: Mapping[str, str], *, source: str | None = None, remark: str | None = None
    ) -> shapes.LabelsTaken:
        """Say what samples are, by sample id; the good labels are taken, each other one is named with its reason."""
        entries = [_given({"sample_id": name, "label": label, "remark": remark}) for name, label in labels.items()]
        return self._wire.post("/labels", shapes.LabelsTaken, _given({"labels": entries, "source": source}))

    def import_labels(self, content: bytes, *, model: str | None = None) -> shapes.LabelsTaken:
        """The labels of a CSV file with the columns `sample_id` and `label`; `model` = samples of no other one."""
        return self._wire.ask(
            "POST",
            "/labels/csv",
            shapes.LabelsTaken,
            query={"model": model},
            content=content,
            headers={"Content-Type": "text/csv; charset=utf-8"},
        )

    def labels(self, model: str) -> Iterator[shapes.Label]:
        """Who said what of the samples of a model, newest first."""
        return self._wire.pages(f"/models/{_segment(model)}/labels", shapes.Page[shapes.Label])

    def feedback(self, model: str, *, device_id: str, deployment: str, input_id: str, label: str) -> shapes.Label:
        """How an answer of a device turned out, as the device tells it."""
        body = {"device_id": device_id, "deployment": deployment, "input_id": input_id, "label": label}
        return self._wire.post(f"/models/{_segment(model)}/feedback", shapes.Label, body)

    # -- retraining

    def retraining_policy(self, model: str) -> shapes.RetrainingPolicy:
        """How a model is retrained."""
        return self._wire.get(f"/models/{_segment(model)}/retraining/policy", shapes.RetrainingPolicy)

    def set_retraining_policy(
        self, model: str, values: Mapping[str, Any], *, edition: int | str | None = None
    ) -> shapes.RetrainingPolicy:
        """Make this the policy of a model, if it still is that `edition`; what is not named is the default."""
        path = f"/models/{_segment(model)}/retraining/policy"
        return self._wire.ask("PUT", path, shapes.RetrainingPolicy, edition=edition, json=dict(values))

    def retrain(
        self,
        model: str,
        *,
        labels: int | None = None,
        random_share: float | None = None,
        without_devices: Sequence[str] = (),
        deployment: str | None = None,
        remark: str | None = None,
    ) -> shapes.Retraining:
        """Retrain a model now, or approve what is proposed; None = as its policy says."""
        body = {
            "labels": labels,
            "random_share": random_share,
            "without_devices": list(without_devices),
            "deployment": deployment,
            "remark": remark,
        }
        return self._wire.post(f"/models/{_segment(model)}/retrainings", shapes.Retraining, _given(body))

    def retrainings(self, model: str | None = None) -> Iterator[shapes.Retraining]:
        """Every firing of a trigger, of one model or of all, newest first."""
        path = "/retrainings" if model is None else f"/models/{_segment(model)}/retrainings"
        return self._wire.pages(path, shapes.Page[shapes.Retraining])

    def retraining(self, retraining_id: str) -> shapes.Retraining:
        """One retraining, with its nominations."""
        return self._wire.get(f"/retrainings/{_segment(retraining_id)}", shapes.Retraining)

    def cancel_retraining(self, retraining_id: str) -> shapes.Retraining:
        """End a retraining; the model that runs goes on."""
        return self._wire.post(f"/retrainings/{_segment(retraining_id)}/cancel", shapes.Retraining)

    # -- jobs

    def jobs(self) -> Iterator[shapes.Job]:
        """All jobs, newest first."""
        return self._wire.pages("/jobs", shapes.Page[shapes.Job])

    def job(self, job_id: str) -> shapes.Job:
        """One job."""
        return self._wire.get(f"/jobs/{_segment(job_id)}", shapes.Job)

    def wait_job(
        self,
        job_id: str,
        *,
        on_progress: Callable[[shapes.Job], None] | None = None,
        timeout: timedelta = limits.JOB_TIMEOUT,
    ) -> shapes.Job:
        """Ask until the job ended, well or badly; `on_progress` sees every change.

        Raises:
            WaitTimeoutError: it did not end in `timeout`; it goes on by itself.
        """
        return wait(
            lambda: self.job(job_id),
            has_ended=lambda job: job.ended,
            on_change=on_progress,
            timeout=timeout,
            overdue=lambda job: (
                f"job {job_id} is still {job.state} after {timeout} ({job.step or 'no step yet'}); "
                "it goes on, ask again"
            ),
        )

    # -- rollouts

    def rollouts(self, *, deployment: str | None = None) -> Iterator[shapes.Rollout]:
        """All rollouts, newest first; of one deployment, they are its history."""
        return self._wire.pages("/rollouts", shapes.Page[shapes.Rollout], {"deployment": deployment})

    def rollout(self, rollout_id: str) -> shapes.Rollout:
        """One rollout with its waves."""
        return self._wire.get(f"/rollouts/{_segment(rollout_id)}", shapes.Rollout)

    def create_rollout(
        self,
        model: str,
        version: int,
        *,
        deployment: str,
        to: str = "all",
        variant: str | None = None,
        waves: tuple[str, ...] | None = None,
        intent: str | None = None,
        policy: Mapping[str, Any] | None = None,
        continuous: bool | None = None,
        draft: bool | None = None,
        needs_approval: bool | None = None,
        starts_at: datetime | None = None,
    ) -> shapes.Rollout:
        """Bring a published artifact to the devices that `to` selects, wave by wave."""
        body = {
            "model": model,
            "version": version,
            "variant": variant,
            "deployment": deployment,
            "to": to,
            "waves": None if waves is None else list(waves),
            "intent": intent,
            "policy": None if policy is None else dict(policy),
            "continuous": continuous,
            "draft": draft,
            "needs_approval": needs_approval,
            "starts_at": None if starts_at is None else starts_at.isoformat(),
        }
        return self.order_rollout(_given(body))

    def order_rollout(self, order: Mapping[str, Any]) -> shapes.Rollout:
        """The same from the body of the request, as a preview takes it."""
        return self._wire.post("/rollouts", shapes.Rollout, order)

    def preview_rollout(
        self, order: Mapping[str, Any], *, cursor: str | None = None, limit: int = limits.PAGE_SIZE
    ) -> shapes.RolloutPreview:
        """What this order would do now; `next` of the answer is the cursor of the following devices."""
        query = {"cursor": cursor, "limit": limit}
        return self._wire.ask("POST", "/rollouts/preview", shapes.RolloutPreview, query=query, json=dict(order))

    def direct_rollout(
        self, rollout_id: str, verb: str, *, edition: int | str | None = None, **said: Any
    ) -> shapes.Rollout:
        """Order something of a rollout: submit, approve, deny, pause, resume, advance, abort, undo or retry.

        `said` goes with it: a `remark`; `roll_back` to abort; `to` and `waves` to undo. The answer to undo and retry is
        the rollout that asks devices. `edition` = only if it is still at this revision.
        """
        path = f"/rollouts/{_segment(rollout_id)}/{verb}"
        return self._wire.ask("POST", path, shapes.Rollout, edition=edition, json=_given(said))

    def abort_rollout(self, rollout_id: str) -> shapes.Rollout:
        """Offer to no further device."""
        return self.direct_rollout(rollout_id, "abort")

    def freezing(self) -> shapes.Freezing:
        """Whether devices are asked for anything new."""
        return self._wire.get("/freeze", shapes.Freezing)

    def freeze(self, *, remark: str = "") -> shapes.Freezing:
        """Ask no device from now on."""
        return self._wire.ask("PUT", "/freeze", shapes.Freezing, json={"remark": remark})

    def thaw(self) -> shapes.Freezing:
        """Ask devices again."""
        return self._wire.ask("DELETE", "/freeze", shapes.Freezing)

    def four_eyes(self) -> shapes.FourEyes:
        """Whether somebody else than who began a rollout has to approve it."""
        return self._wire.get("/four-eyes", shapes.FourEyes)

    def demand_four_eyes(self, *, remark: str = "") -> shapes.FourEyes:
        """Have nobody approve or override what they began."""
        return self._wire.ask("PUT", "/four-eyes", shapes.FourEyes, json={"remark": remark})

    def waive_four_eyes(self) -> shapes.FourEyes:
        """Let one person begin and approve."""
        return self._wire.ask("DELETE", "/four-eyes", shapes.FourEyes)

    def evidence(self, rollout_id: str) -> shapes.Evidence:
        """What the waves of a rollout have shown."""
        return self._wire.get(f"/rollouts/{_segment(rollout_id)}/evidence", shapes.Evidence)

    def installations(self, rollout_id: str) -> Iterator[shapes.Installation]:
        """Each deployment's part in a rollout."""
        return self._wire.pages(f"/rollouts/{_segment(rollout_id)}/installations", shapes.Page[shapes.Installation])


def _place(model: str, version: int) -> str:
    return f"/models/{_segment(model)}/versions/{version}"


def _artifact(model: str, version: int, variant: str) -> str:
    return f"{_place(model, version)}/artifacts/{_segment(variant)}"


def _field(value: Any) -> Any:
    """A value as a form has it."""
    return str(value).lower() if isinstance(value, bool) else value


def _given(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if value is not None}
