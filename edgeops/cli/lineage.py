"""`edgeops model history|lineage|diff`: where a model ran, what it was made of, how two versions differ."""

from itertools import islice
from typing import Annotated

import typer

from edgeops.api.client import Client
from edgeops.api.shapes import Answered, Lineage, Stay
from edgeops.cli import completion
from edgeops.cli.connection import connected
from edgeops.cli.options import AsJson, Limit, ModelOrVersion, Reference
from edgeops.cli.output import print_facts, print_json, print_table, short_digest, size, turned
from edgeops.cli.reference import ModelVersion, parse_model_version
from edgeops.errors import NotFoundError


@connected
def history(client: Client, name: ModelOrVersion, *, limit: Limit = 100, as_json: AsJson = False) -> None:
    """On which devices a model, or one version of it, ran, from when to when."""
    asked = parse_model_version(name) if "@" in name else None
    found = client.history(name) if asked is None else client.history(asked.model, version=asked.version)
    stays = list(islice(found, limit))
    if as_json:
        print_json(stays)
    else:
        _print_stays(stays)


@connected
def lineage(
    client: Client,
    model: Annotated[
        ModelVersion | None,
        typer.Argument(metavar="MODEL@VERSION", parser=parse_model_version, autocompletion=completion.versions),
    ] = None,
    *,
    device: Annotated[
        str | None, typer.Option(autocompletion=completion.devices, help="Of the version that answered on this device.")
    ] = None,
    deployment: Annotated[
        str | None, typer.Option(autocompletion=completion.deployments, help="With --device: where it answered.")
    ] = None,
    input_id: Annotated[
        str | None, typer.Option("--input", metavar="ID", help="With --device: the input.  [default: the latest]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What a version was made of and where it ran; from an answer of a device back to the imported rows."""
    if (model is None) == (device is None) or (device is None) != (deployment is None):
        raise typer.BadParameter("name MODEL@VERSION, or --device ID with --deployment NAME")
    answered = None
    if device is not None and deployment is not None:
        answered = _answered(client, device, deployment, input_id)
        assert answered.model is not None and answered.version is not None  # noqa: PT018 - for the type checker
        model = ModelVersion(answered.model, answered.version)
    assert model is not None
    found, stays = client.lineage(model.model, model.version), list(client.history(model.model, version=model.version))
    if as_json:
        print_json({"answered": answered, "lineage": found, "stays": stays})
        return
    _print_lineage(found, answered)
    _print_stays(stays)


@connected
def diff(client: Client, old: Reference, new: Reference, as_json: AsJson = False) -> None:
    """How two versions differ: rows they learnt from, what was asked, where they were trained, figures, sizes."""
    versions = [client.version(one.model, one.version) for one in (old, new)]
    runs = [client.run(one.run_id) for one in versions]
    data = client.dataset_difference(runs[0].snapshot, runs[1].snapshot)
    trained = client.run_difference(runs[0].id, runs[1].id)
    before, after = ({one.variant: one.size_bytes for one in version.artifacts} for version in versions)
    sizes = {variant: (before.get(variant), after.get(variant)) for variant in dict.fromkeys((*before, *after))}
    if as_json:
        print_json({"data": data, "run": trained, "sizes": sizes})
        return
    print_facts(
        {
            "versions": f"{old} -> {new}",
            "rows": " -> ".join(str(rows) for rows in data.rows),
            "columns added": ", ".join(data.columns_added) or None,
            "columns removed": ", ".join(data.columns_removed) or None,
            "columns that moved": ", ".join(one.column for one in data.moved) or None,
            **{f"class {name}": f"{before} -> {after} rows" for name, (before, after) in data.classes.items()},
            **{f"rule {name}": turned(before, after) for name, (before, after) in data.rules.items()},
            **{name: turned(before, after) for name, (before, after) in trained.parameters.items()},
            **{one.name or one.cause: turned(one.before, one.after) for one in trained.environment},
        }
    )
    print_table(
        ("variant", "figure", "old>", "new>"),
        [
            *((one.variant, one.name, *one.values) for one in trained.metrics),
            *(
                (variant, "size", *(None if one is None else size(one) for one in both))
                for variant, both in sizes.items()
            ),
        ],
    )


def _size(count: int | None) -> str | None:
    return None if count is None else size(count)


def _answered(client: Client, device: str, deployment: str, input_id: str | None) -> Answered:
    """The newest answer whose model is known here.

    Raises:
        NotFoundError: there is none.
    """
    found = client.answered(device, deployment, input_id)
    known = next((one for one in found if one.model is not None), None)
    if known is None:
        what = (
            "no answer is kept" if not found else f"answers came from {found[0].digest}, which this server never had,"
        )
        raise NotFoundError(
            f"{what} of deployment {deployment} on {device}"
            + (f" to input {input_id!r}" if input_id is not None else "")
            + "; devices send the latest answers unless they are told to send all"
        )
    return known


def _print_lineage(found: Lineage, answered: Answered | None) -> None:
    run = found.run
    where = run.environment.host or "a machine that is not known"
    print_facts(
        {
            "answer": None
            if answered is None
            else f"input {answered.input_id} on {answered.device}/{answered.deployment}",
            "answered": None if answered is None else answered.answered_at,
            "by": None if answered is None else f"{answered.variant}, {answered.digest}",
            "version": f"{found.model}@{found.version}",
            "heals": None if found.champion is None else f"{found.model}@{found.champion}",
            "run": run.id,
            "recipe": f"{run.recipe}, seed {run.seed}",
            "trained": f"{run.created_at:%Y-%m-%d %H:%M:%S}Z on {where}",
            "commit": run.environment.commit or None,
            "not committed": run.environment.difference,
        }
    )
    print_table(
        ("snapshot", "dataset", "rows>", "bought>", "of devices", "file", "created", "erased"),
        [
            (
                short_digest(one.digest),
                one.dataset,
                one.rows,
                one.bought_rows,
                ", ".join(one.devices) or None,
                short_digest(one.source),
                one.created_at,
                one.erased_at,
            )
            for one in found.snapshots
        ],
    )


def _facts_of(answered: Answered) -> dict[str, object]:
    return {
        "answer": f"input {answered.input_id} on {answered.device}, deployment {answered.deployment}",
        "answered": answered.answered_at,
        "by": f"{answered.variant}, {answered.digest}",
    }


def _print_stays(stays: list[Stay]) -> None:
    print_table(
        ("device", "deployment", "version>", "variant", "since", "until", "rollout"),
        [(one.device, one.deployment, one.version, one.variant, one.since, one.until, one.rollout) for one in stays],
        empty="it ran on no device; roll it out: edgeops rollout create MODEL@VERSION",
    )
