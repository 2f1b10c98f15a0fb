"""The REST client: one method per question, typed answers, one error per culprit.

It talks to one server and keeps no state but its connections. It computes nothing: what an answer
means is for the caller.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx

from edgeops import limits
from edgeops.api import shapes
from edgeops.errors import (
    AccessError,
    ConflictError,
    InputError,
    MessageError,
    NotFoundError,
    ServerError,
    UnreachableError,
    WaitTimeoutError,
)

_CONNECT_TIMEOUT = timedelta(seconds=5)
_ANSWER_TIMEOUT = timedelta(seconds=60)
#: The slowest and the quickest that a waiting client asks again.
_POLL_MIN = timedelta(milliseconds=50)
_POLL_MAX = timedelta(seconds=1)
_POLL_GROWTH = 1.5

_A = TypeVar("_A", bound=shapes.Answer)

Query = Mapping[str, str | int | float | bool | datetime | None]


class Client:
    """A fleet server at `url` (`http://127.0.0.1:8470`), spoken to with one bearer token.

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
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        headers = {"Accept": "application/json"}
        if token:
            if not token.isascii() or not token.isprintable() or " " in token:
                raise InputError("the token has characters that no token has; copy it again")
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx.Client(
            base_url=f"{self.url}/api/v1",
            headers=headers,
            timeout=httpx.Timeout(timeout.total_seconds(), connect=_CONNECT_TIMEOUT.total_seconds()),
            transport=transport,
            trust_env=False,
        )

    def close(self) -> None:
        """Give back the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- the server, tokens and keys

    def health(self) -> shapes.Health:
        """Whether the API answers; needs no token."""
        return self._get("/health", shapes.Health)

    def keys(self) -> tuple[shapes.Key, ...]:
        """All keys of the fleet, by their public halves."""
        return self._get("/keys", shapes.Keys).keys

    def tokens(self) -> Iterator[shapes.Token]:
        """All API tokens, without secrets."""
        return self._pages("/tokens", shapes.Page[shapes.Token])

    def create_token(self, name: str, role: shapes.Role | str) -> shapes.NewToken:
        """A new API token; the answer is the only place where its secret is ever shown."""
        return self._post("/tokens", shapes.NewToken, {"name": name, "role": str(role)})

    def revoke_token(self, token_id: str) -> None:
        """From now on the token opens nothing."""
        self._send("DELETE", f"/tokens/{_segment(token_id)}")

    def enrolment_tokens(self, count: int = 1) -> tuple[shapes.EnrolmentToken, ...]:
        """One-time tokens, each for one device."""
        return self._post("/enrolment-tokens", shapes.EnrolmentTokens, {"count": count}).tokens

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
        return self._post("/enrol", shapes.Enrolment, body)

    # -- devices

    def devices(self) -> Iterator[shapes.Device]:
        """All enrolled devices."""
        return self._pages("/devices", shapes.Page[shapes.Device])

    def device(self, device_id: str) -> shapes.Device:
        """One device, with what it shall run and what it does run."""
        return self._get(f"/devices/{_segment(device_id)}", shapes.Device)

    def remove_device(self, device_id: str) -> None:
        """Take a device out of the fleet for good; what it said stays."""
        self._send("DELETE", f"/devices/{_segment(device_id)}")

    def release_device(self, device_id: str) -> shapes.Device:
        """Believe a device again that was in quarantine."""
        return self._post(f"/devices/{_segment(device_id)}/release", shapes.Device)

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
        return self._pages(f"/devices/{_segment(device_id)}/telemetry", shapes.Page[shapes.TelemetryWindow], query)

    def latest_predictions(self, device_id: str) -> tuple[shapes.Prediction, ...]:
        """The newest answer of each deployment."""
        return tuple(self._pages(f"/devices/{_segment(device_id)}/predictions/latest", shapes.Page[shapes.Prediction]))

    def predictions(
        self, device_id: str, deployment: str | None = None, digest: str | None = None
    ) -> Iterator[shapes.Prediction]:
        """All kept answers."""
        query = {"deployment": deployment, "digest": digest, "limit": limits.MAX_PAGE_SIZE}
        return self._pages(f"/devices/{_segment(device_id)}/predictions", shapes.Page[shapes.Prediction], query)

    def quarantine(self) -> Iterator[shapes.QuarantinedMessage]:
        """Messages that were not believed, newest first."""
        return self._pages("/quarantine", shapes.Page[shapes.QuarantinedMessage])

    # -- data, runs, models

    def datasets(self) -> Iterator[shapes.Dataset]:
        """All datasets."""
        return self._pages("/datasets", shapes.Page[shapes.Dataset])

    def dataset(self, name: str) -> shapes.Dataset:
        """One dataset with its snapshots."""
        return self._get(f"/datasets/{_segment(name)}", shapes.Dataset)

    def import_dataset(
        self,
        path: Path,
        *,
        name: str,
        label: str,
        features: str | None = None,
        where: str | Sequence[str] | None = None,
        exclude: str | None = None,
        hold_out: float | None = None,
        seed: int | None = None,
    ) -> shapes.Job:
        """Upload a CSV or npz file; the job's result names the snapshot.

        Args:
            path: the file.
            name: of the dataset.
            label: column (CSV) or array (npz) that is to be learnt.
            features: columns or arrays to learn from, with commas; None = all others (npz: `X`).
            where: only rows that match, such as `batch=1,2`; several conditions must all match.
            exclude: columns to leave out, with commas.
            hold_out: share of the rows that is only judged on; None = the server's default.
            seed: of the split.

        Raises:
            InputError: the file cannot be read.
        """
        form = {
            "name": name,
            "label": label,
            "features": features,
            "where": where,
            "exclude": exclude,
            "hold_out": hold_out,
            "seed": seed,
        }
        try:
            file = path.open("rb")
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from error
        with file:
            answer = self._send("POST", "/datasets", data=_given(form), files={"file": (path.name, file)})
        return _parse(answer, shapes.Job)

    def dataset_rows(self, name: str, split: str = "evaluation") -> bytes:
        """The rows of a split without labels, as npz: `X` and `id`."""
        return self._send("GET", f"/datasets/{_segment(name)}/rows", params={"split": split}).content

    def dataset_labels(self, name: str, split: str = "evaluation") -> bytes:
        """The labels of a split, as CSV: `id,label`."""
        query = {"split": split, "labels": "true"}
        return self._send("GET", f"/datasets/{_segment(name)}/rows", params=query).content

    def runs(self) -> Iterator[shapes.Run]:
        """All trainings, newest first."""
        return self._pages("/runs", shapes.Page[shapes.Run])

    def run(self, run_id: str) -> shapes.Run:
        """One training."""
        return self._get(f"/runs/{_segment(run_id)}", shapes.Run)

    def train(
        self,
        dataset: str,
        model: str,
        *,
        recipe: str | None = None,
        seed: int | None = None,
        epochs: int | None = None,
        options: Mapping[str, float | str] | None = None,
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
        }
        return self._post("/runs", shapes.Job, _given(body))

    def models(self) -> Iterator[shapes.Model]:
        """All models."""
        return self._pages("/models", shapes.Page[shapes.Model])

    def model(self, name: str) -> shapes.Model:
        """One model with its versions."""
        return self._get(f"/models/{_segment(name)}", shapes.Model)

    def version(self, name: str, version: int) -> shapes.Version:
        """One version with its artifacts, labels, columns and channels."""
        return self._get(f"/models/{_segment(name)}/versions/{version}", shapes.Version)

    def publish(self, name: str, version: int, *, variant: str | None = None) -> shapes.Job:
        """Sign and list the artifacts of a version."""
        return self._post(f"/models/{_segment(name)}/versions/{version}/publish", shapes.Job, {"variant": variant})

    def withdraw(self, name: str, version: int, *, variant: str | None = None) -> shapes.Job:
        """List the artifacts of a version no longer."""
        return self._post(f"/models/{_segment(name)}/versions/{version}/withdraw", shapes.Job, {"variant": variant})

    # -- jobs

    def jobs(self) -> Iterator[shapes.Job]:
        """All jobs, newest first."""
        return self._pages("/jobs", shapes.Page[shapes.Job])

    def job(self, job_id: str) -> shapes.Job:
        """One job."""
        return self._get(f"/jobs/{_segment(job_id)}", shapes.Job)

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
        deadline = time.monotonic() + timeout.total_seconds()
        pause = _POLL_MIN.total_seconds()
        seen: shapes.Job | None = None
        while True:
            job = self.job(job_id)
            if job != seen:
                seen, pause = job, _POLL_MIN.total_seconds()
                if on_progress is not None:
                    on_progress(job)
            if job.ended:
                return job
            if time.monotonic() + pause > deadline:
                raise WaitTimeoutError(
                    f"job {job_id} is still {job.state} after {timeout} ({job.step or 'no step yet'}); "
                    "it goes on, ask again"
                )
            time.sleep(pause)
            pause = min(pause * _POLL_GROWTH, _POLL_MAX.total_seconds()) * random.uniform(0.9, 1.1)  # noqa: S311 - spreads clients

    # -- rollouts

    def rollouts(self) -> Iterator[shapes.Rollout]:
        """All rollouts, newest first."""
        return self._pages("/rollouts", shapes.Page[shapes.Rollout])

    def rollout(self, rollout_id: str) -> shapes.Rollout:
        """One rollout with its waves."""
        return self._get(f"/rollouts/{_segment(rollout_id)}", shapes.Rollout)

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
        }
        return self._post("/rollouts", shapes.Rollout, _given(body))

    def abort_rollout(self, rollout_id: str) -> shapes.Rollout:
        """Offer to no further device."""
        return self._post(f"/rollouts/{_segment(rollout_id)}/abort", shapes.Rollout)

    def installations(self, rollout_id: str) -> Iterator[shapes.Installation]:
        """Each deployment's part in a rollout."""
        return self._pages(f"/rollouts/{_segment(rollout_id)}/installations", shapes.Page[shapes.Installation])

    # -- the wire

    def _get(self, path: str, kind: type[_A]) -> _A:
        return _parse(self._send("GET", path), kind)

    def _post(self, path: str, kind: type[_A], body: Mapping[str, Any] | None = None) -> _A:
        return _parse(self._send("POST", path, json=body), kind)

    def _pages(self, path: str, kind: type[shapes.Page[_A]], query: Query | None = None) -> Iterator[_A]:
        params = _parameters(query or {})
        while True:
            page = _parse(self._send("GET", path, params=params), kind)
            yield from page.items
            if page.next is None:
                return
            params["cursor"] = page.next

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **content)
        except httpx.TimeoutException as error:
            raise UnreachableError(f"{self.url} did not answer in time; is the server busy or gone?") from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise UnreachableError(f"cannot reach {self.url}: {error}; is the server running there?") from error
        if not answer.is_success:
            raise _error(self.url, answer)
        return answer


def _segment(name: str) -> str:
    """One segment of a path, whatever a person typed; no dots, which are steps in a path (RFC 3986 5.2.4)."""
    return quote(name, safe="").replace(".", "%2E") or "-"


def _given(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if value is not None}


def _parameters(query: Query) -> dict[str, str]:
    return {
        key: value.isoformat() if isinstance(value, datetime) else str(value)
        for key, value in query.items()
        if value is not None
    }


def _parse(answer: httpx.Response, kind: type[_A]) -> _A:
    try:
        return shapes.read(answer.content, kind)
    except MessageError as error:
        raise UnreachableError(f"{answer.url} answered: {error}; is another program listening there?") from error


def _error(url: str, answer: httpx.Response) -> Exception:
    """The error that a problem document stands for."""
    try:
        problem = shapes.read(answer.content, shapes.Problem)
    except MessageError:
        return UnreachableError(
            f"{url} answered {answer.status_code} without a problem document; is another program listening there?"
        )
    fields = "; ".join(f"{field.pointer.removeprefix('#/')}: {field.detail}" for field in problem.errors)
    text = fields or problem.detail or problem.title
    match problem.status:
        case 401 | 403:
            return AccessError(text)
        case 404:
            return NotFoundError(text)
        case 409 | 412:
            return ConflictError(text)
        case 400 | 413 | 422:
            return InputError(text)
        case _:
            return ServerError(f"{problem.status} {problem.title}: {text}")
