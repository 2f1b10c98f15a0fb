"""Ids that exist, for calls that a machine makes up: what an OpenAPI link would give, for every operation."""

import secrets
from functools import partial
from pathlib import Path

import msgspec
from sqlalchemy import update

from edgeops.api.roles import Role
from edgeops.artifact.manifest import Promotion, Rule, encode_value, target_path
from edgeops.protocol.envelope import Session, Speaker
from edgeops.protocol.keys import SigningKey
from edgeops.protocol.messages import Intent
from edgeops.protocol.passes import write_pass
from edgeops.rollout.candidate import Candidate
from edgeops.rollout.deviation import Cause, Deviation
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.policy import Policy
from edgeops.rollout.rollout import RolloutState
from edgeops.rollout.waves import Wave
from edgeops.trust.change import encode_change, sign
from edgeops.trust.draft import Draft
from edgeops.trust.moment import NONCE_BYTES
from edgeops.trust.repository import Repository
from edgeops.trust.signers import by_id
from fleet_server.db import devices, incidents, models, rollouts
from fleet_server.db.identifiers import new_id
from fleet_server.db.tables import installations
from tests.contract.loop_rig import DEVICES, LoopRig
from tests.contract.trained import DATASET, GROUPED, REFUSED, add_dataset, add_grouped, add_refused, add_version
from tests.golden.tiny import tiny_descriptor
from tests.integration.fetch_rig import stock
from tests.unit.drift_rig import DEPLOYMENT, artifact, digest

MODEL = {"name": "tiny"}
VERSION = {"name": "tiny", "version": 1}
_TRAINED_HERE = 9


class SeededRig(LoopRig):
    """An API over a fleet, data and decisions; `seed` says what makes a call to an operation succeed."""

    def __init__(self, folder: Path):
        super().__init__(folder, proxied=True)
        self.snapshot = add_dataset(self.config, self.database, self.now)
        add_grouped(self.config, self.database, self.now)
        add_refused(self.config, self.database, self.now)
        self.fleet.round()
        self.sample = self.add_samples(count=6)
        self.retraining = self.operator.retrain("tiny", labels=3).id
        self.job = self.operator.train("tiny-rows", "tiny").id
        self.blob, _ = stock(self, 1000, seed=71)
        self.change = self._change()
        self.config.webhook_hosts.write_text("hooks.example\n")
        self.webhook = ""
        self.webhook = self._webhook()
        self.incident = self._incident()
        self.reader = self._speaker()
        #: Of drawn parameters, those that name something or demand something: what a good call says; None = nothing.
        self.named = {
            "cursor": lambda: None,
            "model": lambda: "tiny",
            "version": lambda: 1,
            "deployment": lambda: DEPLOYMENT,
            "device": lambda: DEVICES[0],
            "digest": digest,
            "Idempotency-Key": lambda: secrets.token_hex(8),
            "If-Match": lambda: "*",
            "If-None-Match": lambda: None,
            "Last-Event-ID": lambda: None,
            "Range": lambda: None,
            "Authorization": lambda: None,
        }
        #: Of drawn bodies, fields that mean nothing to the server.
        self.harmless = ("remark", "reason", "agent_version")

    def seed(self, method, path):
        """Parameters and body of a good call, or None where any call that fits the document is one."""
        made = {
            ("POST", "/enrol"): lambda: {"body": self._newcomer()},
            ("DELETE", "/devices/{device_id}"): lambda: {"path": {"device_id": self._device()}},
            ("POST", "/devices/{device_id}/release"): lambda: {"path": {"device_id": self._device(quarantined=True)}},
            ("DELETE", "/tokens/{token_id}"): lambda: {"path": {"token_id": self._token()}},
            ("POST", "/enrolment-tokens"): lambda: {"body": {"count": 1}},
            ("POST", "/tokens"): lambda: {"body": {"name": "spare", "role": "viewer"}},
            ("POST", "/keys/changes"): lambda: {"body": self.change},
            ("POST", "/keys/next"): lambda: {"body": {"role": "fleet"}},
            ("POST", "/datasets"): lambda: {"body": {"name": "pumps", "label": "y", "file": "x,y\n1,a\n"}},
            ("POST", "/datasets/inspect"): lambda: {"body": {"file": "x,y\n1,b\n"}},
            ("POST", "/models"): lambda: {"body": {"name": "own-model", "dataset": DATASET, "file": "no model"}},
            ("GET", "/datasets/{name}/groups"): lambda: {"path": {"name": GROUPED}, "query": {"group": "g1"}},
            **{
                ("POST", f"/datasets/{{name}}/{verb}"): lambda: {"path": {"name": GROUPED}, "body": {"group": "g1"}}
                for verb in ("forget", "erase")
            },
            **{
                ("POST", path): lambda: {"body": {"dataset": DATASET, "model": "tiny"}}
                for path in ("/runs", "/runs/preview")
            },
            ("POST", "/datasets/samples"): self._labelled,
            ("POST", "/datasets/preview"): lambda: {
                "body": {"name": DATASET, "file": digest(), "file_name": "x.csv", "rules": 'label = "y"'}
            },
            ("POST", "/labels"): lambda: {"body": {"labels": [{"sample_id": self.sample[0], "label": "red"}]}},
            ("POST", "/labels/csv"): lambda: {"query": {}, "body": f"sample_id,label\n{self.sample[1]},red\n"},
            ("POST", "/models/{name}/feedback"): lambda: {"path": MODEL, "body": self._feedback()},
            ("POST", "/models/{name}/retrainings"): lambda: {"path": MODEL, "body": self._next_retraining()},
            ("POST", "/retrainings/{retraining_id}/cancel"): lambda: {"path": {"retraining_id": self._retraining()}},
            ("PUT", "/models/{name}/retraining/policy"): lambda: {"path": MODEL, "headers": {}, "body": {"labels": 5}},
            ("PUT", "/models/{name}/aliases/{alias}"): lambda: {
                "path": {"name": "tiny", "alias": "champion"},
                "body": {"version": 1},
            },
            ("POST", "/models/{name}/drift/check"): lambda: {"path": MODEL, "query": {}},
            ("GET", "/models/{name}/drift"): lambda: {"path": MODEL, "query": {}},
            ("POST", "/rollouts"): lambda: {"headers": {}, "body": self._order()},
            **{
                ("POST", f"/rollouts/{{rollout_id}}/{verb}"): partial(self._verb, state)
                for verb, state in (
                    ("abort", RolloutState.RUNNING),
                    ("approve", RolloutState.AWAITING_APPROVAL),
                    ("deny", RolloutState.AWAITING_APPROVAL),
                    ("resume", RolloutState.PAUSED),
                    ("submit", RolloutState.DRAFT),
                )
            },
            ("POST", "/rollouts/{rollout_id}/advance"): lambda: {
                **self._verb(RolloutState.RUNNING, device_ids=DEVICES[:2]),
                "body": {"remark": "seen by hand"},
            },
            ("POST", "/rollouts/{rollout_id}/retry"): lambda: self._verb(
                RolloutState.PAUSED, ended=InstallationState.FAILED
            ),
            ("POST", "/rollouts/{rollout_id}/undo"): lambda: {
                **self._verb(RolloutState.FINISHED, device_ids=[self._fresh()], ended=InstallationState.COMMITTED),
                "body": {"to": self._rollout(RolloutState.FINISHED)},
            },
            ("PUT", "/freeze"): lambda: self._switch("/freeze", on=False),
            ("DELETE", "/freeze"): lambda: self._switch("/freeze", on=True),
            ("PUT", "/four-eyes"): lambda: self._switch("/four-eyes", on=False),
            ("DELETE", "/four-eyes"): lambda: self._switch("/four-eyes", on=True),
            ("PUT", "/devices/{device_id}/pin"): lambda: {
                "path": {"device_id": DEVICES[0]},
                "body": {"reason": "kept"},
            },
            ("DELETE", "/devices/{device_id}/pin"): lambda: {"path": {"device_id": self._pinned()}, "query": {}},
            ("POST", "/devices/{device_id}/labels"): lambda: {
                "path": {"device_id": DEVICES[0]},
                "body": {"set": {"site": secrets.token_hex(4)}},
            },
            ("PUT", "/groups/{name}"): lambda: {"path": {"name": "pumps"}, "headers": {}, "body": {"selector": "all"}},
            ("DELETE", "/groups/{name}"): lambda: {"path": {"name": self._group()}, "headers": {}},
            ("GET", "/groups/{name}"): lambda: {"path": {"name": self._group("pumps")}},
            ("POST", "/rollouts/preview"): lambda: {"body": self._order()},
            ("GET", "/tuf/metadata/{name}"): lambda: {"path": {"name": "timestamp.json"}},
            ("POST", "/webhooks"): lambda: {"body": self._receiver()},
            ("DELETE", "/webhooks/{webhook_id}"): lambda: {"path": {"webhook_id": self._webhook()}},
            ("GET", "/samples/{sample_id}"): lambda: {"path": {"sample_id": self.sample[0]}},
            ("GET", "/jobs/{job_id}"): lambda: {"path": {"job_id": self.job}},
            ("POST", "/benchmarks"): lambda: {"body": {"model": "tiny", "version": 1, "device": DEVICES[0]}},
            ("GET", "/benchmarks/{benchmark_id}"): lambda: {"path": {"benchmark_id": self._benchmark()}},
            ("GET", "/runs/{run_id}/difference"): lambda: {"path": {"run_id": "run-1"}, "query": {"to": "run-1"}},
            **{("GET", f"/runs/{{run_id}}{of_it}"): lambda: {"path": {"run_id": "run-1"}} for of_it in ("", "/epochs")},
            ("GET", "/runs/{run_id}/picture"): lambda: {"path": {"run_id": "run-1"}, "query": {"beside": ["run-1"]}},
            ("GET", "/datasets/{name}/quarantine"): lambda: {"path": {"name": REFUSED}},
            ("GET", "/datasets/{name}/rows"): lambda: {"path": {"name": DATASET}, "query": {}},
            ("GET", "/datasets/{name}/difference"): lambda: {"path": {"name": DATASET}, "query": {"to": DATASET}},
            ("GET", "/datasets/{name}"): lambda: {"path": {"name": DATASET}},
            ("GET", "/retrainings/{retraining_id}"): lambda: {"path": {"retraining_id": self.retraining}},
            ("GET", "/incidents/{incident_id}"): lambda: {"path": {"incident_id": self.incident}},
            ("POST", "/incidents/{incident_id}/close"): lambda: {
                "path": {"incident_id": self._incident()},
                "body": {"remark": "seen"},
            },
            **{
                ("POST", f"/models/{{name}}/versions/{{version}}/{verb}"): lambda: {
                    "path": VERSION,
                    "body": {"variant": "int8"},
                }
                for verb in ("publish", "withdraw")
            },
            ("POST", "/models/{name}/versions/{version}/override"): lambda: {
                "path": self._refused(),
                "body": {"remark": "a rehearsal"},
            },
            ("PUT", "/models/{name}/promotion/policy"): lambda: {
                "path": MODEL,
                "headers": {},
                "body": {"least_accuracy": round(secrets.randbelow(1000) / 1000, 3)},
            },
            ("GET", "/models/{name}/versions/{version}/lineage"): lambda: {"path": self._trained_here()},
            ("GET", "/devices/{device_id}/lineage"): lambda: {
                "path": {"device_id": DEVICES[0]},
                "query": {"deployment": DEPLOYMENT},
            },
            ("POST", "/models/{name}/versions/{version}/reproduce"): lambda: {"path": self._trained_here()},
            ("GET", "/time"): lambda: {"query": {"nonce": secrets.token_hex(NONCE_BYTES)}},
            ("GET", "/tuf/targets/{path}"): lambda: {"path": {"path": self._target()}},
            ("GET", "/blobs/{name}"): lambda: {
                "path": {"name": self.blob.digest[7:]},
                "headers": {"Authorization": write_pass(self.reader, self.blob.digest, seq=1), "Range": "bytes=0-99"},
            },
            ("GET", "/events/stream"): lambda: {"query": {}},
        }.get((method, path.removeprefix("/api/v1")))
        return made() if made else self._by_names(path)

    def _trained_here(self):
        """A version whose snapshot and file are among the blobs."""
        with self.database.read() as connection:
            is_there = models.get_version(connection, "tiny", _TRAINED_HERE) is not None
        if not is_there:
            add_version(self.config, self.database, _TRAINED_HERE, self.now, snapshot=self.snapshot)
        return {"name": "tiny", "version": _TRAINED_HERE}

    def _by_names(self, path):
        known = {
            "name": "tiny",
            "version": 1,
            "variant": "int8",
            "device_id": DEVICES[0],
            "webhook_id": self.webhook,
            "rollout_id": "" if "{rollout_id}" not in path else self._rollout(),
        }
        return {"path": {name: value for name, value in known.items() if f"{{{name}}}" in path}, "query": {}}

    # -- things that a call uses up

    def _refused(self):
        """A version that its promotion gate refuses."""
        with self.database.write() as connection:
            [one] = models.list_artifacts(connection, "tiny", 1)
            refused = Promotion(passed=False, rules=(Rule(name="heals", passed=False, reason="worse on red"),))
            descriptor = msgspec.structs.replace(one.describe(), promotion=refused)
            models.describe_anew(connection, one, encode_value(descriptor))
        return VERSION

    def _incident(self):
        found = Deviation(cause=Cause.NO_MODEL, should=digest(), runs=None, heals_by_asking=True)
        with self.database.write() as connection:
            deployment = f"spare-{secrets.token_hex(6)}"
            return incidents.begin(connection, DEVICES[0], deployment, found, now=self.now).id

    def _target(self):
        targets = self.config.targets
        return next(str(one.relative_to(targets)) for one in sorted(targets.rglob("*")) if one.is_file())

    def _speaker(self):
        key = SigningKey.generate()
        with self.database.write() as connection:
            devices.enrol(
                connection, "reader-0001", name="reader", hardware="board", public_key=key.public, now=self.now
            )
        return Speaker("reader-0001", key, 0, Session(1, bytes(8)))

    def _device(self, *, quarantined=False):
        device_id = self.enrol_device(f"spare-{secrets.token_hex(6)}")
        if quarantined:
            with self.database.write() as connection:
                devices.quarantine(connection, device_id, reason="two sessions", now=self.now)
        return device_id

    def _pinned(self):
        device_id = self._device()
        self.request("PUT", f"/api/v1/devices/{device_id}/pin", role=Role.ADMIN, json={}).raise_for_status()
        return device_id

    def _group(self, name="spare"):
        answer = self.request("PUT", f"/api/v1/groups/{name}", role=Role.ADMIN, json={"selector": "all"})
        answer.raise_for_status()
        return name

    def _webhook(self):
        return self.second.webhooks.add(**self._receiver()).id

    def _receiver(self):
        for one in list(self.second.webhooks.list())[8:]:
            if one.id != self.webhook:
                self.second.webhooks.remove(one.id)
        return {"url": "https://hooks.example/edgeops", "kinds": ["rollout."]}

    def _token(self):
        return self.second.create_token("spare", Role.VIEWER).id

    def _newcomer(self):
        return {
            "token": self.app.state.server.access.create_enrolment_tokens(1, created_by="a admin", now=self.now)[
                0
            ].text,
            "name": "pump",
            "hardware": "board",
            "public_key": SigningKey.generate().public.hex,
        }

    def _retraining(self):
        for one in self.second.retrainings("tiny"):
            if not one.finished_at:
                return one.id
        return self.second.retrain("tiny", labels=3).id

    def _next_retraining(self):
        for one in self.second.retrainings("tiny"):
            if not one.finished_at:
                self.second.cancel_retraining(one.id)
        return {"labels": 3}

    def _labelled(self):
        self.operator.add_labels({self.sample[2]: "red"})
        return {"body": {"name": "bought", "model": "tiny"}}

    def _benchmark(self):
        return self.operator.benchmarks.ask("tiny", 1, variant="int8", device=DEVICES[0]).id

    def _feedback(self):
        return {"device_id": DEVICES[0], "deployment": DEPLOYMENT, "input_id": "0", "label": "red"}

    def _order(self):
        return {"model": "tiny", "version": 1, "deployment": DEPLOYMENT, "to": f"id={self._fresh()}"}

    def _fresh(self):
        """A device that runs nothing yet, so that it is left to ask."""
        device_id = f"fresh-{secrets.token_hex(6)}"
        self.fleet.enrol(device_id, version=2)
        with self.database.write() as connection:
            told = devices.get(connection, device_id).reported
            facts = msgspec.structs.replace(told.facts, memory_bytes=1 << 30, disk_free_bytes=1 << 30)
            devices.set_reported(connection, device_id, msgspec.structs.replace(told, facts=facts), now=self.now)
        return device_id

    def _switch(self, path, *, on):
        """What a call to set or to end is about."""
        self.request("PUT" if on else "DELETE", f"/api/v1{path}", role=Role.ADMIN)
        return {}

    def _verb(self, state, **changes):
        return {"path": {"rollout_id": self._rollout(state, **changes)}, "headers": {}}

    def _rollout(self, state=RolloutState.RUNNING, *, device_ids=DEVICES[:1], ended=None):
        """One device a wave."""
        with self.database.write() as connection:
            one = rollouts.Rollout(
                id=new_id("rollout", self.now), model="tiny", version=1, variant="int8", digest=digest(),
                target="models/tiny/1-int8.json", deployment=DEPLOYMENT, selector="all", intent=Intent.IMPROVE,
                policy=Policy(), state=state, created_by="ann", created_at=self.now,
            )  # fmt: skip
            rollouts.add(connection, one, [Wave((Candidate(id=each, name=each, online=True),)) for each in device_ids])
            if ended is not None:
                of_rollout = installations.c.rollout_id == one.id
                connection.execute(update(installations).where(of_rollout).values(state=ended))
        return one.id

    def _change(self):
        """Signed by all who must, and published: to send it again is harmless."""
        repository = Repository.open(self.config.repository, self.config.keys)
        draft = Draft(repository.base(), self.now)
        listed = (tiny_descriptor(artifact()), self.blob)
        draft.list({target_path(one.manifest): encode_value(one) for one in listed})
        change = draft.finish()
        sign(change, by_id(self.config.keys))
        return encode_change(change)


# -- what is made, read, taken away and looked for again: each call, and the answer that it got


def _group(_rig):
    path = {"path": {"name": "passing"}}
    yield ("PUT", "/api/v1/groups/{name}"), {**path, "body": {"selector": "all"}}
    for method in ("GET", "DELETE", "GET"):
        yield (method, "/api/v1/groups/{name}"), path


def _webhook(_rig):
    made = yield ("POST", "/api/v1/webhooks"), {"body": {"url": "https://hooks.example/passing"}}
    path = {"path": {"webhook_id": made.json()["id"]}}
    for method, noun in (("GET", ""), ("GET", "/deliveries"), ("DELETE", ""), ("GET", ""), ("GET", "/deliveries")):
        yield (method, f"/api/v1/webhooks/{{webhook_id}}{noun}"), path


def _rollout(rig):
    made = yield ("POST", "/api/v1/rollouts"), rig.seed("POST", "/api/v1/rollouts")
    for noun in ("", "/installations", "/evidence"):
        yield ("GET", f"/api/v1/rollouts/{{rollout_id}}{noun}"), {"path": {"rollout_id": made.json()["id"]}}


def _device(rig):
    path = rig.seed("DELETE", "/api/v1/devices/{device_id}")
    for method, noun in (("GET", ""), ("GET", "/why"), ("DELETE", "")):
        yield (method, f"/api/v1/devices/{{device_id}}{noun}"), path
    for noun in ("", "/telemetry", "/predictions", "/predictions/latest", "/why"):
        yield ("GET", f"/api/v1/devices/{{device_id}}{noun}"), path


CHAINS = (_group, _webhook, _rollout, _device)
