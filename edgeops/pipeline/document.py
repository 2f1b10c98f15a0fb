"""What a pipeline file says: files that become datasets, and models that learn from them. It asks no server.

[datasets.gas]
file = "gas.csv"
rules = "gas.rules.toml"

[models.gas-ppm]
dataset = "gas"
recipe = "dense"
publish = ["int8"]
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from edgeops.artifact.manifest import USUAL_VARIANTS, Variant
from edgeops.data.paths import CLASS, is_folder
from edgeops.data.rules import read_rules, write_rules
from edgeops.errors import DatasetError, InputError
from edgeops.fleet_file.fields import read_fields
from edgeops.learning.variants import parse_size
from edgeops.protocol.messages import Id
from edgeops.rollout.objection import Objection, guess, segment
from edgeops.written import read_written

#: The file that is read when none is named.
FILE_NAME = "edgeops.toml"
#: Publishes the smallest variant that its promotion gate let pass and that keeps the budgets.
SMALLEST = "smallest"


class Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file or folder that becomes a snapshot of a dataset."""

    #: Relative to the pipeline file.
    file: Annotated[str, msgspec.Meta(min_length=1)]
    #: What holds for its rows (docs/data.md): a TOML file, relative to the pipeline file, or a table; empty = nothing.
    rules: str | dict[str, Any] = ""


class Budgets(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a variant may cost, as of `edgeops train --auto`; None = anything, but for the loss."""

    #: Against float32, in points; None = 1.
    max_loss: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None
    #: Of the file: bytes, or text such as `100kB`.
    max_size: Annotated[int, msgspec.Meta(ge=1)] | str | None = None
    #: Where it was judged, one thread; in milliseconds.
    max_p95: Annotated[float, msgspec.Meta(ge=0.001)] | None = None

    def __post_init__(self) -> None:
        """Refuse what is no size."""
        self.given()

    def given(self) -> dict[str, float | None]:
        """As the client takes them."""
        size_bytes = parse_size(self.max_size) if isinstance(self.max_size, str) else self.max_size
        return {"loss_points": self.max_loss, "size_bytes": size_bytes, "p95_latency_ms": self.max_p95}


class Training(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model and what it learns from."""

    dataset: Id
    recipe: str = "dense"
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 0
    #: None = the recipe's own.
    epochs: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    #: What the recipe takes beside that, by name.
    options: dict[str, float | str] = {}
    #: None = float32 and int8, or all where the smallest is published.
    variants: Annotated[tuple[Variant, ...], msgspec.Meta(min_length=1)] | None = None
    #: So many trainings more, each judged on training rows that it was not shown; None = none.
    folds: Annotated[int, msgspec.Meta(ge=2, le=20)] | None = None
    #: Variants that devices may run once the promotion gate let them pass, or the smallest within the budgets.
    publish: tuple[Variant, ...] | Literal["smallest"] = ()
    budgets: Budgets | None = None

    @property
    def built(self) -> tuple[Variant, ...]:
        """The variants that are built and judged."""
        if self.variants is not None:
            return self.variants
        return tuple(Variant) if self.publish == SMALLEST else USUAL_VARIANTS


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A whole pipeline file; a value that exists is valid."""

    datasets: Mapping[str, Data]
    #: TOML of the rules of each dataset.
    rules: Mapping[str, str]
    models: Mapping[str, Training]


_SECTIONS = ("datasets", "models")


def read_pipeline(path: Path) -> Pipeline:
    """Read a pipeline file and the rules that it names.

    Raises:
        InputError: the file cannot be read, or a value cannot be used; every one is told with its place.
    """
    try:
        values = tomllib.loads(read_written(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not TOML: {error}") from error
    objections = [
        Objection(f"#/{key}", f"unknown section{guess(key, _SECTIONS)}; known are {', '.join(_SECTIONS)}")
        for key in values
        if key not in _SECTIONS
    ]
    datasets = dict(_entries(values, "datasets", Data, objections))
    models = dict(_entries(values, "models", Training, objections))
    rules = dict(_rules(datasets, path.parent, objections))
    objections += _misfits(datasets, models, path.parent)
    if not objections and not datasets:
        objections = [Objection("#", "no dataset is declared; begin with a table [datasets.NAME]")]
    if objections:
        told = [f"{path}: {one.pointer}: {one.detail}" for one in objections]
        raise InputError("\n".join(told), fields=[(one.pointer, one.detail) for one in objections])
    return Pipeline(datasets=datasets, rules=rules, models=models)


def _entries(
    values: dict[str, Any], section: str, kind: type[Any], objections: list[Objection]
) -> Iterator[tuple[str, Any]]:
    table = values.get(section, {})
    if not isinstance(table, dict):
        objections.append(Objection(f"#/{section}", "is a table: a name and what it means"))
        return
    for name, value in table.items():
        place = f"#/{section}/{segment(name)}"
        try:
            msgspec.convert(name, Id)
        except msgspec.ValidationError:
            words = f"{name!r} is no name: 3 to 63 of a-z, 0-9 and -, beginning with a letter or digit"
            objections.append(Objection(place, words))
            continue
        entry = read_fields(kind, place, value, objections)
        if entry is not None:
            yield name, entry


def _rules(datasets: Mapping[str, Data], folder: Path, objections: list[Objection]) -> Iterator[tuple[str, str]]:
    """The TOML of the rules of each dataset, in the words of whoever wrote them where they are a file."""
    for name, data in datasets.items():
        place = f"#/datasets/{segment(name)}/rules"
        is_zip = (folder / data.file).is_dir() or is_folder(data.file)
        otherwise = CLASS if is_zip else ""
        try:
            if isinstance(data.rules, str):
                text = read_written(folder / data.rules) if data.rules else ""
                read_rules(text, otherwise=otherwise)
            else:
                text = write_rules(read_rules("", otherwise=otherwise, **data.rules))
        except (InputError, DatasetError) as error:
            objections.append(Objection(place, str(error)))
            continue
        yield name, text


def _misfits(datasets: Mapping[str, Data], models: Mapping[str, Training], folder: Path) -> Iterator[Objection]:
    for name, data in datasets.items():
        if not (folder / data.file).exists():
            yield Objection(f"#/datasets/{segment(name)}/file", f"there is no {folder / data.file}")
    for name, training in models.items():
        place = f"#/models/{segment(name)}"
        if training.dataset not in datasets:
            words = f"{training.dataset!r} is not declared{guess(training.dataset, tuple(datasets))}"
            yield Objection(f"{place}/dataset", f"{words}; a table [datasets.{training.dataset}] would do it")
        if not isinstance(training.publish, tuple):
            continue
        if training.budgets is not None:
            yield Objection(f"{place}/budgets", f'only one that is chosen has budgets: publish = "{SMALLEST}"')
        for variant in training.publish:
            if variant not in training.built:
                yield Objection(f"{place}/publish", f"{variant} is not among the variants {', '.join(training.built)}")
