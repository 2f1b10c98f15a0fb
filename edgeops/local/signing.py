"""What a person signs: delegations with their acceptance sets, and versions that wait for a signature.

What is to be signed is asked from the server and checked here before it goes into a change; who signs that, and how it
comes back, is `edgeops.local.ceremony`'s. Moving keys off the server and beginning again without them work on the
server's own machine. It decides nothing about models and asks nobody; what is shown to a person is `edgeops.cli`'s
business.
"""

import csv
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeops.api.client import Client
from edgeops.api.shapes import KeyRole, Version
from edgeops.artifact.acceptance import (
    AcceptanceSet,
    AcceptanceVerdict,
    acceptance_path,
    encode_acceptance,
    propose,
)
from edgeops.artifact.manifest import Descriptor, Manifest, Task, Variant, decode_descriptor, target_path
from edgeops.artifact.package import open_artifact
from edgeops.digest import digest_bytes
from edgeops.errors import ConfigError, ConflictError, DatasetError, NotFoundError, TrustError
from edgeops.local.ceremony import make_key, remember_root
from edgeops.local.endpoints import keys_folder, repository_folder
from edgeops.model.model import Model
from edgeops.protocol.keys import PublicKey
from edgeops.trust import custody
from edgeops.trust.change import sign as sign_change
from edgeops.trust.delegation import Delegation
from edgeops.trust.draft import Draft
from edgeops.trust.keyring import FLEET_KEYS_TARGET
from edgeops.trust.repository import Repository
from edgeops.trust.signers import by_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """An acceptance set, before it is signed."""

    model: str
    #: The version that the floors were taken from, what it reached, and the rows' dataset.
    version: int
    reached: AcceptanceVerdict
    dataset: str
    acceptance: AcceptanceSet


def propose_acceptance(
    client: Client,
    model: str,
    *,
    version: int | None = None,
    dataset: str | None = None,
    floor: float | None = None,
    class_floor: float | None = None,
) -> Proposal:
    """An acceptance set from the frozen evaluation rows of the model's own dataset.

    `version` is the one that is trusted now; None = the champion, else the newest published. `dataset` None = the
    one that this version was trained on.

    Raises:
        NotFoundError: no such model, version or dataset.
        ArtifactError: no set can be made, or a floor that the version itself does not reach.
    """
    trusted = _trusted(client, model, version)
    chosen = dataset or _dataset_of(client, trusted)
    with _loaded(client, trusted) as loaded:
        windows, classes = _evaluation(client, chosen, loaded.manifest)
        acceptance, reached = propose(loaded, windows, classes, floor=floor, class_floor=class_floor)
    return Proposal(model=model, version=trusted.version, reached=reached, dataset=chosen, acceptance=acceptance)


def delegate(client: Client, draft: Draft, proposal: Proposal) -> Delegation:
    """Let a key that the server makes sign retrained versions, and list the acceptance set with it."""
    draft.list({acceptance_path(proposal.model): encode_acceptance(proposal.acceptance)})
    made = client.next_key(KeyRole.AUTO, model=proposal.model)
    return draft.delegate(proposal.model, PublicKey.from_hex(made.public_hex))


def undelegate(draft: Draft, model: str) -> None:
    """Take a delegation and its acceptance set back.

    Raises:
        NotFoundError: the model has no delegation.
    """
    draft.undelegate(model)
    draft.unlist([acceptance_path(model)])


def read_for_signing(client: Client, model: str, version: int, variant: Variant | None) -> dict[str, bytes]:
    """What TUF would list of a version, by path, after the files themselves were held against it.

    Raises:
        NotFoundError: no such version or variant.
        ConflictError: its promotion gate refused it, and nobody overrode that.
        TrustError: a descriptor does not describe the file that the server has.
    """
    names = [one.variant for one in client.version(model, version).artifacts if variant in (None, one.variant)]
    if not names:
        raise NotFoundError(f"{model}@{version} has no {variant} artifact")
    wanted = {}
    for name in names:
        content = client.descriptor(model, version, name)
        descriptor = decode_descriptor(content)
        _check(descriptor, client.artifact(model, version, name), f"{model}@{version} {name}")
        if (descriptor.manifest.name, descriptor.manifest.version) != (model, str(version)):
            raise TrustError(f"the server describes {target_path(descriptor.manifest)} as {model}@{version} {name}")
        if not descriptor.promotion.may_be_listed:
            raise ConflictError(
                f"{model}@{version} {name} did not pass its promotion gate: {descriptor.promotion.failures}; an "
                f"approver may override it: edgeops publish {model}@{version} --variant {name} --override REMARK"
            )
        wanted[target_path(descriptor.manifest)] = content
    return wanted


def withdraw(client: Client, draft: Draft, model: str, version: int, variant: Variant | None) -> None:
    """List a version no longer; what its delegated key listed is the server's to take back.

    Raises:
        NotFoundError: no such version.
    """
    artifacts = client.version(model, version).artifacts
    paths = [f"models/{model}/{version}-{one.variant}.json" for one in artifacts if variant in (None, one.variant)]
    draft.unlist(paths)


def move_offline(data: Path, destination: Path, now: datetime) -> tuple[Path, ...]:
    """Move the root and targets keys off the server, and return where they are; harmless to repeat.

    Targets are signed for the last time here, so that their whole life lies ahead, and the server is tried without.

    Raises:
        ConfigError: a key is missing, is not this fleet's, or cannot be moved there.
        ConflictError: another key lies there under the same name.
    """
    keys, there = keys_folder(data), destination if destination.is_dir() else None
    repository = Repository.open(repository_folder(data), keys, offline=there)
    here = {one.role for one in repository.role_keys() if one.at_hand}
    missing = [role for role in custody.OFFLINE if role not in here]
    if missing:
        raise ConfigError(
            f"the fleet's key of {' and '.join(missing)} is neither in {keys} nor in {destination}; "
            "name the folder that the keys were moved to"
        )
    if repository.can_sign(FLEET_KEYS_TARGET, now):
        repository.renew(now)
    moved = custody.move_offline(keys, destination)
    remember_root(destination, repository.trusted_root())
    Repository.open(repository_folder(data), keys).refresh(now, force=True)
    return moved


def begin_again(data: Path, keys: Path, now: datetime) -> bytes:
    """Make new root and targets keys in `keys`, and a root that nobody before has signed; that root.

    On the server's own machine. All that is listed stays so; devices refuse the new root until they are told by hand.

    Raises:
        ConflictError: `keys` holds root or targets keys already.
        ConfigError: there is no repository in `data`, or a folder cannot be written.
    """
    repository = Repository.open(repository_folder(data), keys_folder(data))
    new = {role: make_key(keys, role) for role in custody.OFFLINE}
    new |= {role: repository.prepare_key(role) for role in custody.ROLES if role not in custody.OFFLINE}
    draft = Draft(repository.base(), now)
    draft.begin_again(new)
    change = draft.finish()
    sign_change(change, by_id(keys))
    repository.submit(change, now, begin_again=True)
    root = repository.trusted_root()
    remember_root(keys, root)
    return root


def _trusted(client: Client, model: str, version: int | None) -> Version:
    """A version by its number, else the champion, else the newest that is published."""
    known = client.model(model)
    chosen = version or known.champion
    if chosen is not None:
        return client.version(model, chosen)
    versions = known.versions or ()
    published = next((one for one in versions if any(each.is_listed for each in one.artifacts)), None)
    if published is None:
        raise ConflictError(
            f"no version of {model} is published; publish the first one: edgeops publish {model}@VERSION"
        )
    return published


def _dataset_of(client: Client, version: Version) -> str:
    snapshot = client.run(version.run_id).snapshot
    for dataset in client.datasets():
        if any(one.digest == snapshot for one in client.dataset(dataset.name).snapshots or ()):
            return dataset.name
    raise NotFoundError(f"no dataset has the snapshot {snapshot} of {version.model}@{version.version}; name one")


@contextmanager
def _loaded(client: Client, version: Version) -> Iterator[Model]:
    """The variant that devices run, loaded from the server's file."""
    variants = [one.variant for one in version.artifacts]
    variant = Variant.INT8 if Variant.INT8 in variants else variants[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(client.artifact(version.model, version.version, variant))
        model = Model.load(path)
        try:
            yield model
        finally:
            model.close()


def _evaluation(client: Client, dataset: str, manifest: Manifest) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The frozen rows as windows (rows, 1, columns), and their classes in the model's order."""
    if manifest.task is not Task.CLASSIFICATION:
        raise DatasetError(
            f"{manifest.name} does {manifest.task}; acceptance sets, and so models that sign themselves, are for "
            "classification only"
        )
    if manifest.window.rows != 1:
        raise DatasetError(
            f"{manifest.name} sees {manifest.window.rows} rows at once; acceptance sets are made of single rows"
        )
    with np.load(io.BytesIO(client.dataset_rows(dataset)), allow_pickle=False) as arrays:
        ids, values, columns = arrays["id"], arrays["X"], tuple(arrays["columns"].tolist())
    try:
        places = [columns.index(name) for name in manifest.window.columns]
    except ValueError as error:
        raise DatasetError(f"{dataset} lacks a column that {manifest.name} reads: {error}; name another") from error
    labels = {line["id"]: line["label"] for line in _lines(client.dataset_labels(dataset))}
    known = {label: place for place, label in enumerate(manifest.output.labels)}
    usable = [place for place, one in enumerate(ids) if labels.get(str(one)) in known]
    if not usable:
        raise DatasetError(f"{dataset} has no evaluation row with a class of {manifest.name}; name another")
    classes = np.array([known[labels[str(ids[place])]] for place in usable], np.int64)
    return values[usable][:, places][:, None, :].astype(np.float32), classes


def _lines(content: bytes) -> Iterator[dict[str, str]]:
    return csv.DictReader(io.StringIO(content.decode()))


def _check(descriptor: Descriptor, content: bytes, what: str) -> None:
    if digest_bytes(content) != descriptor.digest:
        raise TrustError(f"the server's file of {what} is not the one that its descriptor names; do not sign it")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(content)
        if open_artifact(path).manifest != descriptor.manifest:
            raise TrustError(f"the manifest inside {what} is not its descriptor's; do not sign it")
