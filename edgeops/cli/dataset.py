"""`edgeops dataset`: bring data in, look at it, get rows out."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import msgspec
import typer

from edgeops.api.client import Client
from edgeops.api.shapes import Dataset, Snapshot, Split
from edgeops.artifact.manifest import Task
from edgeops.cli import completion
from edgeops.cli.connection import connected
from edgeops.cli.forgetting import told_of_group
from edgeops.cli.inspection import commented_rules
from edgeops.cli.live import confirm, follow, say, upload_progress
from edgeops.cli.options import AsJson, DatasetName, ModelName, Timeout
from edgeops.cli.output import abridged, print_facts, print_json, print_table, short_digest, size, turned, write_file
from edgeops.data.inspection import Inspection
from edgeops.data.rules import BadRows, Duplicates, SplitBy
from edgeops.errors import InputError
from edgeops.protocol.messages import Id
from edgeops.written import read_written

app = typer.Typer(help="Data that models learn from.", no_args_is_help=True)


@app.command("import")
@connected
def import_(
    client: Client,
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|FOLDER|URL",
            help="CSV with a header, JSONL, Parquet, npz, a folder (or .zip) of pictures or WAV; a database.",
        ),
    ],
    *,
    query: Annotated[
        str | None,
        typer.Option(metavar="SELECT", help="Rows of a database, read here; URL as SQLAlchemy has it: docs/data.md."),
    ] = None,
    rules: Annotated[
        Path | None, typer.Option(help="TOML with what holds for the data: docs/data.md.", exists=True, dir_okay=False)
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="The column (npz: array) that is to be learnt; anomaly detectors need none.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the dataset.  [default: the file's name]")] = None,
    task: Annotated[Task | None, typer.Option(help="What is learnt of the label.  [default: classification]")] = None,
    units: Annotated[str | None, typer.Option(help="Of the label, where it is a number.")] = None,
    group: Annotated[str | None, typer.Option(help="The column that names the device or person of a row.")] = None,
    slices: Annotated[
        str | None, typer.Option(help="More columns that name what a row is of, with commas; figures are told by each.")
    ] = None,
    time: Annotated[str | None, typer.Option(help="The column with the moment of a row.")] = None,
    clock: Annotated[
        str | None,
        typer.Option(help="What is learnt of a row's moment: hour, weekday, or both with a comma; devices compute it."),
    ] = None,
    zone: Annotated[
        str | None,
        typer.Option(help="Time zone of hours, weekdays and moments without an offset.  [default: UTC]"),
    ] = None,
    features: Annotated[
        str | None, typer.Option(help="Columns to learn from, with commas.  [default: all others; npz: X]")
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="Only rows whose column has one of these values: batch=1,2; repeatable.")
    ] = None,
    clip_hz: Annotated[
        float | None, typer.Option(help="Readings a second: each row of the array, or WAV file, is a recording.")
    ] = None,
    exclude: Annotated[str | None, typer.Option(help="Columns to leave out, with commas.")] = None,
    duplicates: Annotated[
        Duplicates | None, typer.Option(help="What becomes of a row that equals one before it.  [default: keep]")
    ] = None,
    bad_rows: Annotated[
        BadRows | None, typer.Option(help="Import nothing, or keep bad rows apart.  [default: error]")
    ] = None,
    split: Annotated[SplitBy | None, typer.Option(help="What decides who is held out.  [default: row]")] = None,
    held_out: Annotated[str | None, typer.Option(help="Groups that are held out, with commas.")] = None,
    hold_out: Annotated[
        float | None, typer.Option(min=0.01, max=0.9, help="Share of rows that is only judged on.  [default: 0.2]")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Decides which rows are held out.  [default: 0]")] = None,
    in_time_order: Annotated[
        bool, typer.Option("--in-time-order", help="The rows are consecutive rows of one source, oldest first.")
    ] = False,
    pattern: Annotated[
        str | None,
        typer.Option(
            help="Of a folder: a regular expression whose named parts are columns.  [default: CLASS/[GROUP/]FILE]"
        ),
    ] = None,
    picture_size: Annotated[
        str | None,
        typer.Option("--size", metavar="HxW", help="Pixels that all pictures become.  [default: as they are]"),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Length that all recordings get.  [default: as they have]")
    ] = None,
    grey: Annotated[bool, typer.Option("--grey", help="Pictures in colour become grey ones.")] = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Upload a file or a folder; its rows become an immutable snapshot."""
    if query is not None and name is None:
        raise typer.BadParameter("rows of a query have no file that could name the dataset; give --name")
    if name is not None:
        _require_name(name)
    with _sent(source, query) as file, upload_progress(f"upload {file.name}") as report:
        chosen = name or _name_of(file.resolve())
        _require_name(chosen)
        job = client.import_dataset(
            file,
            name=chosen,
            rules="" if rules is None else read_written(rules),
            report=report,
            label=label,
            task=task,
            units=units,
            group=group,
            slices=slices,
            time=time,
            clock=clock,
            zone=zone,
            features=features,
            where=where,
            clip_hz=clip_hz,
            exclude=exclude,
            duplicates=duplicates,
            bad_rows=bad_rows,
            split=split,
            held_out=held_out,
            hold_out=hold_out,
            seed=seed,
            in_time_order=in_time_order or None,
            pattern=pattern,
            size=picture_size,
            seconds=seconds,
            grey=grey or None,
        )
    job = follow(client, job, what=f"import {file.name}", timeout=timeout)
    if as_json:
        print_json(job)
        return
    dataset = client.dataset(chosen)
    _print_dataset(dataset)
    say(f"next: edgeops train {chosen} --model NAME --recipe {_fitting_recipe(dataset)}")


@app.command("from-samples")
@connected
def from_samples(
    client: Client,
    model: ModelName,
    *,
    name: Annotated[str | None, typer.Option(help="Name of the dataset.  [default: MODEL-samples]")] = None,
    split: Annotated[SplitBy, typer.Option(help="What decides who is held out; a group is a device.")] = SplitBy.ROW,
    slices: Annotated[
        str | None,
        typer.Option(help="Labels of devices, with commas: what answers cost is told by each; such as site."),
    ] = None,
    hold_out: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share of rows or devices that is only judged on.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help="Decides which rows are held out.")] = 0,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Make a dataset of what devices sent as samples of a model and people labelled."""
    chosen = name or f"{model}-samples"
    by = tuple(slices.split(",")) if slices else None
    job = client.import_samples(chosen, model, split=split, slices=by, hold_out=hold_out, seed=seed)
    job = follow(client, job, what=f"import samples of {model}", timeout=timeout)
    if as_json:
        print_json(job)
        return
    dataset = client.dataset(chosen)
    _print_dataset(dataset)
    say(f"next: edgeops train {chosen} --model NAME --recipe {_fitting_recipe(dataset)}")


@app.command()
@connected
def inspect(
    client: Client,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|FOLDER",
            help="CSV with a header, JSONL, Parquet, npz, a folder (or .zip) of pictures or WAV.",
            exists=True,
        ),
    ],
    *,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Look at data before it is imported: its columns or files, and rules to begin with (TOML); nothing is kept."""
    name = file.resolve().name
    with upload_progress(f"upload {name}") as report:
        job = client.inspect_file(file, report=report)
    job = follow(client, job, what=f"inspect {name}", timeout=timeout)
    if as_json:
        print_json(job.result)
        return
    print(commented_rules(msgspec.convert(job.result, Inspection), file_name=name), end="")
    say(f"next: edgeops dataset import {file} --rules rules.toml, with what is above as you want it")


@app.command("list")
@connected
def list_(client: Client, as_json: AsJson = False) -> None:
    """All datasets."""
    datasets = list(client.datasets())
    if as_json:
        print_json(datasets)
        return
    print_table(
        ("dataset", "rows>", "size>", "snapshot", "created"),
        [
            (
                one.name,
                one.head and one.head.rows,
                one.head and size(one.head.size_bytes),
                short_digest(one.head.digest) if one.head else None,
                one.created_at,
            )
            for one in datasets
        ],
        empty="no datasets; bring one in: edgeops dataset import FILE --label COLUMN",
    )


@app.command()
@connected
def show(client: Client, name: DatasetName, as_json: AsJson = False) -> None:
    """One dataset and its snapshots."""
    dataset = client.dataset(name)
    if as_json:
        print_json(dataset)
        return
    _print_dataset(dataset)


@app.command()
@connected
def export(
    client: Client,
    name: DatasetName,
    file: Annotated[Path, typer.Argument(help="Where to write; .npz for rows, .csv for labels.", dir_okay=False)],
    *,
    split: Annotated[Split, typer.Option(help="Which rows.")] = Split.EVALUATION,
    labels: Annotated[bool, typer.Option("--labels", help="The labels (CSV: id,label) instead of the rows.")] = False,
) -> None:
    """Write rows without labels (npz: X, id), to replay them on a device; or their labels, to judge it."""
    data = client.dataset_labels(name, split) if labels else client.dataset_rows(name, split)
    write_file(file, data)
    say(f"{file}: {'labels' if labels else 'rows'} of the {split} split of {name}, {size(len(data))}")


@app.command()
@connected
def diff(
    client: Client,
    old: Annotated[str, typer.Argument(help="A dataset, or a snapshot's digest.", autocompletion=completion.datasets)],
    new: Annotated[str, typer.Argument(help="A dataset, or a snapshot's digest.", autocompletion=completion.datasets)],
    as_json: AsJson = False,
) -> None:
    """How a snapshot differs from another: rows, columns, classes, statistics, rules."""
    found = client.dataset_difference(old, new)
    if as_json:
        print_json(found)
        return
    print_facts(
        {
            "rows": " -> ".join(str(rows) for rows in found.rows),
            "columns added": ", ".join(found.columns_added) or None,
            "columns removed": ", ".join(found.columns_removed) or None,
            **{f"class {name}": f"{before} -> {after} rows" for name, (before, after) in found.classes.items()},
            **{f"rule {name}": turned(before, after) for name, (before, after) in found.rules.items()},
        }
    )
    print_table(
        ("column", "mean moved (old std)>", "spread>", "missing>"),
        [
            (
                one.column,
                None if one.shift_std is None else f"{one.shift_std:+.2f}",
                None if one.spread is None else f"x {one.spread:.2f}",
                " -> ".join(f"{share:.1%}" for share in one.missing),
            )
            for one in found.moved
        ],
        empty="no column moved by a tenth of its standard deviation",
    )


@app.command()
@connected
def quarantine(
    client: Client,
    name: DatasetName,
    file: Annotated[Path, typer.Argument(help="Where to write; .jsonl.gz.", dir_okay=False)],
) -> None:
    """Write the rows that an import refused: line, reason, column, value and the row as it was read (gzip JSONL)."""
    data = client.dataset_quarantine(name)
    write_file(file, data)
    say(f"{file}: refused rows of {name}, {size(len(data))}")


@app.command()
@connected
def forget(
    client: Client,
    name: DatasetName,
    *,
    group: Annotated[str, typer.Option(help="The device or person, as its rows name it.")],
    erase: Annotated[
        bool, typer.Option("--erase", help="Also delete the snapshots that hold it; needs the right to approve.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; needed where nobody can answer.")] = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Leave all rows of a group out from now on, and name the models that learnt from it."""
    if not yes:
        known = client.dataset_group(name, group)
        for line in told_of_group(known, erase=erase):
            say(line)
        confirm(f"{'Erase' if erase else 'Forget'} {group} in {name}?")
    job = follow(client, client.forget_group(name, group, erase=erase), what=f"forget {group}", timeout=timeout)
    if as_json:
        print_json(job.result)
        return
    result = job.result or {}
    print_facts({fact: result.get(fact) for fact in ("dataset", "group", "snapshot", "rows", "forgotten_rows")})
    print_table(
        ("model", "learnt from", "published", ""),
        [
            (
                f"{one['model']}@{one['version']}",
                short_digest(one["snapshot"]),
                ", ".join(one["published"]) or None,
                "champion" if one["is_champion"] else None,
            )
            for one in result.get("versions", ())
        ],
        empty="no model learnt from it",
    )
    for warning in result.get("warnings", ()):
        say(warning)
    if result.get("versions"):
        say(f"next: edgeops train {name}, then withdraw these versions: edgeops model withdraw MODEL@VERSION")


def _fitting_recipe(dataset: Dataset) -> str:
    """The recipe to begin with."""
    details = {} if dataset.head is None else dataset.head.details
    if details.get("task") == Task.ANOMALY:
        return "distance"
    if details.get("clip"):
        return "spectrogram"
    return "cnn" if len(details.get("shape", ())) > 1 else "dense"


@contextmanager
def _sent(source: str, query: str | None) -> Iterator[Path]:
    """What is uploaded: the file or folder, or the rows of a query, which are gone afterwards.

    Raises:
        InputError: there is no such file, or the database cannot be asked.
    """
    if query is None:
        path = Path(source)
        if not path.exists():
            what = "name what to read with --query" if "://" in source else "give a file or a folder"
            raise InputError(f"there is no file {source.rpartition('@')[2][:200]!r}; {what}")
        yield path
        return
    from edgeops.local.sql_rows import write_rows  # noqa: PLC0415 - it needs what only few have

    with TemporaryDirectory(prefix="edgeops-") as folder:
        file = Path(folder) / "rows.jsonl"
        rows = write_rows(source, query, file, on_progress=lambda count: say(f"read {count} rows"))
        say(f"read {rows} rows, {size(file.stat().st_size)}")
        yield file


def _require_name(name: str) -> None:
    """Refuse what a dataset cannot be called, before anything is sent."""
    try:
        msgspec.convert(name, Id)
    except msgspec.ValidationError:
        raise InputError(
            f"{name!r} is no name of a dataset: 3 to 63 of a-z, 0-9 and -, beginning with a letter or digit; give "
            "another one with --name"
        ) from None


def _name_of(file: Path) -> str:
    return file.name.partition(".")[0].lower().replace("_", "-").replace(" ", "-")


def _print_dataset(dataset: Dataset) -> None:
    head = dataset.head
    print_facts(
        {
            "dataset": dataset.name,
            "created": dataset.created_at,
            "by": dataset.created_by,
            **(_snapshot_facts(head) if head else {"snapshot": "none"}),
            "snapshots": len(dataset.snapshots or ()) or None,
            "erased": ", ".join(
                f"{short_digest(one.digest)} at {one.erased_at.isoformat(timespec='seconds')}"
                for one in dataset.snapshots or ()
                if one.erased_at
            )
            or None,
        }
    )


def _snapshot_facts(snapshot: Snapshot) -> dict[str, object]:
    details = snapshot.details
    columns, classes = details.get("columns", ()), details.get("classes", ())
    parts, clip = details.get("split_rows"), details.get("clip")
    return {
        "snapshot": snapshot.digest,
        "rows": snapshot.rows,
        "split": ", ".join(f"{rows} {split}" for split, rows in zip(Split, parts, strict=True)) if parts else None,
        "order": "in time order" if details.get("ordered") else None,
        "task": details.get("task"),
        "label": " ".join(filter(None, (details.get("label"), details.get("units")))) or None,
        "classes": ", ".join(map(str, classes)) or None,
        "columns": abridged(columns),
        "clips": f"{clip['rows']} readings at {clip['rate_hz']:g} Hz" if clip else None,
        "refused": ", ".join(f"{rows} {reason}" for reason, rows in details.get("refused", {}).items()) or None,
        "warnings": "; ".join(details.get("warnings", ())) or None,
        "size": size(snapshot.size_bytes),
        "erased": snapshot.erased_at,
    }
