"""The card of a version (Mitchell et al. 2019): what its file says of itself, and all that is known of it beside.

The card inside a file holds only what a rebuild repeats, and names no group of rows; this one is for people who may see
the run. Markdown is its source, `page` shows the same as HTML. Nothing is computed here but what is told.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum

import numpy as np

from edgeops.artifact.compatibility import lacking_operators
from edgeops.artifact.manifest import Descriptor, Task, Variant
from edgeops.card.facts import Facts
from edgeops.card.figures import figures_of
from edgeops.card.markdown import bullets, plain, read_sections, table
from edgeops.chart import Bar, Bars
from edgeops.learning.slices import Slice
from edgeops.model.tolerance import LITERT, TFLITE_RUNTIME, tolerance
from edgeops.rollout.blessing import Outcome

#: Of many columns, groups or classes, so many are told of.
_ROWS, _BARS = 64, 20
_HEADLINES = {
    Task.CLASSIFICATION: ("accuracy", "accuracy"),
    Task.REGRESSION: ("mae", "mean error"),
    Task.ANOMALY: ("false-alarm-rate", "false alarms"),
}


class CardFormat(StrEnum):
    """What a card is written as."""

    #: For people who look: one file with charts.
    HTML = "html"
    #: For people and programs who read: the same without charts.
    MARKDOWN = "markdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What stands under a heading; none = the beginning."""

    title: str
    text: str
    #: They show what the tables say.
    charts: tuple[Bars, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A title and what follows."""

    title: str
    sections: tuple[Section, ...]

    def __str__(self) -> str:
        told = (f"## {one.title}\n\n{one.text}" if one.title else one.text for one in self.sections)
        return "\n\n".join([f"# {self.title}", *told]) + "\n"


def make_card(facts: Facts, variant: Variant, *, inside: str) -> Card:
    """The card of a version as one of its files answers; `inside` is the card in that file."""
    said = read_sections(inside)
    beginning = next(iter(said.values()), "")
    descriptor = next(one for one in facts.files if one.manifest.variant is variant)
    sections = (
        Section(title="", text=beginning),
        _files(facts),
        _data(facts, said),
        Section(title="Training", text=said.get("Training", "")),
        _worth(facts, descriptor, said),
        _parts(facts, variant, said),
        _attributions(facts, variant),
        _gate(facts),
        _needs(facts),
        _devices(facts),
        Section(title="Limits", text=said.get("Limits", "")),
        _warnings(facts),
        _lineage(facts, descriptor),
    )
    return Card(
        title=f"{facts.model} {facts.version}, {variant}",
        sections=tuple(one for one in sections if one.text or one.charts),
    )


def _joined(*texts: str) -> str:
    return "\n\n".join(text for text in texts if text)


def _files(facts: Facts) -> Section:
    name, words = _HEADLINES[facts.schema.task]
    units = f", {facts.schema.units}" if facts.schema.units else ""
    rows = [
        (
            one.manifest.variant,
            _headline(one.manifest.metrics, name),
            f"{one.size_bytes / 1024:.1f}",
            one.latency_p95_ms,
            "passed" if one.promotion.passed else "overridden" if one.promotion.override else "FAILED",
        )
        for one in facts.files
    ]
    head = ("variant", f"{words}{plain(units)}", "file, KiB", "p95 where it was judged, ms", "promotion gate")
    return Section(title="Files", text=_joined(table(head, rows), _classes(facts)))


def _classes(facts: Facts) -> str:
    """How often each file finds each class: what quantizing costs may fall on one of them."""
    every = [one.manifest for one in facts.files]
    if len(every) < 2 or not facts.schema.classes:
        return ""
    rows = [(name, *(one.metrics.get(f"recall.{name}") for one in every)) for name in facts.schema.classes[:_ROWS]]
    return table(("recall of class", *(one.variant for one in every)), rows)


def _headline(metrics: Mapping[str, float], name: str) -> str | None:
    return next((str(one) for one in figures_of(metrics) if one.name == name), None)


def _data(facts: Facts, said: Mapping[str, str]) -> Section:
    schema = facts.schema
    refused = ", ".join(f"{reason} {rows}" for reason, rows in sorted(schema.refused.items()))
    told = [f"dataset `{facts.dataset}`", f"refused rows: {refused or 'none'}"]
    if facts.erased_at is not None:
        told.append(f"its rows were erased at {facts.erased_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC")
    columns = zip(schema.columns[:_ROWS], schema.statistics, strict=False)
    ranges = table(
        ("column", "lowest", "5 %", "median", "95 %", "highest", "missing"),
        [
            (name, one.minimum, *(one.quantiles[place] for place in (0, 2, 4)), one.maximum, one.missing)
            if one.quantiles
            else (name, one.minimum, None, None, None, one.maximum, one.missing)
            for name, one in columns
        ],
    )
    rest = len(schema.columns) - _ROWS
    more = f"Not shown: {rest} columns more." if rest > 0 else ""
    charts: tuple[Bars, ...] = ()
    if schema.classes:
        rows = zip(schema.classes[:_BARS], schema.class_rows, strict=False)
        bars = [Bar(name=name, value=float(count)) for name, count in rows]
        charts = (Bars(title="Rows of each class", x="rows", bars=bars),)
    is_table = len(schema.shape) == 1 and schema.statistics
    text = _joined(
        said.get("Data", ""),
        bullets(told),
        *(("What the rows that it learnt from hold:", ranges, more) if is_table else ()),
    )
    return Section(title="Data", text=text, charts=charts)


def _worth(facts: Facts, descriptor: Descriptor, said: Mapping[str, str]) -> Section:
    rows = [(one.name, one.value, *(one.bounds or (None, None))) for one in figures_of(descriptor.manifest.metrics)]
    figures = table(("figure", "value", "from", "to"), rows) if rows else ""
    folds = ""
    if facts.folds is not None:
        each = ", ".join(f"{one:.4g}" for one in facts.folds.figures)
        folds = f"""Trained again without each of {len(facts.folds.figures)} folds (by {facts.folds.by}), int8 files
answered these: {each}; mean {facts.folds.mean:.4g}, spread {facts.folds.spread:.4g}."""
    return Section(title="What it is worth", text=_joined(said.get("What it is worth", ""), figures, folds))


def _parts(facts: Facts, variant: Variant, said: Mapping[str, str]) -> Section:
    """Groups are named here: who may see the run may see them."""
    scrutiny, text, charts = facts.scrutinies.get(variant), said.get("Groups and columns", ""), list[Bars]()
    if scrutiny is None:
        return Section(title="Groups and columns", text=text)
    groups = ""
    if scrutiny.slices:
        groups = table(("group", "by", "rows", "cost", "from", "to"), [_slice(one) for one in scrutiny.slices])
        judged = sorted((one for one in scrutiny.slices if one.is_judged), key=lambda one: -one.cost)[:_BARS]
        bars = [Bar(name=f"{one.by} {one.name}".lstrip(), value=one.cost, bounds=(one.low, one.high)) for one in judged]
        if bars:
            charts.append(Bars(title="What answers cost, the worst groups first", x=_cost(facts), bars=bars))
    if scrutiny.columns:
        bars = [Bar(name=one.column, value=one.loss) for one in scrutiny.columns[:_BARS]]
        charts.append(Bars(title="What the loss of a column costs", x=f"more {_cost(facts)}", bars=bars))
    return Section(title="Groups and columns", text=_joined(text, groups), charts=tuple(charts))


def _cost(facts: Facts) -> str:
    if facts.schema.task is Task.REGRESSION:
        return f"mean error{f', {facts.schema.units}' if facts.schema.units else ''}"
    return "wrong answers, share"


def _slice(one: Slice) -> tuple[object, ...]:
    if not one.is_judged:
        return (one.name, one.by, one.rows, "too few rows", None, None)
    return (one.name, one.by, one.rows, one.cost, one.low, one.high)


def _attributions(facts: Facts, variant: Variant) -> Section:
    scrutiny = facts.scrutinies.get(variant)
    lost = {one.column: one for one in scrutiny.permuted} if scrutiny is not None else {}
    shares = {one.column: one.share for one in facts.shares}
    if not lost and not shares:
        return Section(title="What it goes by", text="")
    rows = [
        (name, *((lost[name].loss, lost[name].spread) if name in lost else (None, None)), shares.get(name))
        for name in dict.fromkeys((*lost, *shares))
    ]
    text = f"""What answers of this file cost more when each input has a column of another one (Breiman 2001), with the
standard deviation over permutations; and the column's share of what moves the answer of the float network (integrated
gradients, Sundararajan et al. 2017). Tried on some of the rows that judge; of many columns those that are watched. Of
columns that tell the same, one may be used and the other not.

{table(("column", "permuted", "spread", "share"), rows)}"""
    charts = list[Bars]()
    if lost:
        bars = [
            Bar(name=one.column, value=one.loss, bounds=(one.loss - one.spread, one.loss + one.spread))
            for one in list(lost.values())[:_BARS]
        ]
        charts.append(Bars(title="What permuting a column costs", x=f"more {_cost(facts)}", bars=bars))
    if shares:
        bars = [Bar(name=name, value=share) for name, share in list(shares.items())[:_BARS]]
        charts.append(Bars(title="What moves the answer", x="share", bars=bars))
    return Section(title="What it goes by", text=text, charts=tuple(charts))


def _gate(facts: Facts) -> Section:
    # What a rule said of several variants alike is told once.
    said: dict[tuple[str, str, str], list[str]] = {}
    for one in facts.files:
        for rule in one.promotion.rules:
            passed = "yes" if rule.passed else "NO"
            said.setdefault((rule.name, passed, rule.reason), []).append(one.manifest.variant)
    rules = list(dict.fromkeys(name for name, _, _ in said))
    rows = [
        (name, ", ".join(variants), passed, reason)
        for (name, passed, reason), variants in sorted(said.items(), key=lambda one: rules.index(one[0][0]))
    ]
    text = table(("rule", "variants", "passed", "why"), rows) if rows else "Nothing is told of its promotion gate."
    overridden = [
        f"{one.manifest.variant}: overridden by {plain(override.by)} at {override.at}: {plain(override.remark)}"
        for one in facts.files
        if (override := one.promotion.override) is not None
    ]
    return Section(title="Promotion gate", text=_joined(text, bullets(overridden)))


def _needs(facts: Facts) -> Section:
    """What a device must offer, and how far its golden answers may be off, by runtime."""
    rows = []
    for one in facts.files:
        manifest = one.manifest
        needed, is_float = manifest.requirements, manifest.outputs[manifest.output.answer].dtype == "float32"
        lacking = "; ".join(lacking_operators(needed.ops))
        rows.append(
            (
                manifest.variant,
                ", ".join(f"{name} {version}" for name, version in needed.ops.items()),
                needed.minimal_runtime or "unknown",
                lacking or "yes",
                *(_tolerance(name, is_float=is_float) for name in (LITERT, TFLITE_RUNTIME)),
            )
        )
    golden = (f"golden, {LITERT}", f"golden, {TFLITE_RUNTIME}")
    head = ("variant", "operations", "TensorFlow Lite from", "tflite-runtime 2.14", *golden)
    text = f"""Golden answers may be off by steps of an integer output, or by a share of a float output's largest value.

{table(head, rows)}"""
    return Section(title="What devices need", text=text)


def _tolerance(runtime: str, *, is_float: bool) -> str:
    most = tolerance(np.dtype(np.float32 if is_float else np.int8), runtime)
    return f"{most:g}" if is_float else f"{most:g} step{'' if most == 1 else 's'}"


def _devices(facts: Facts) -> Section:
    """The newest word of each class on each file; a trial that says nothing takes none back."""
    newest = dict[tuple[Variant, str], tuple[str, str, str, str]]()
    for one in sorted(facts.trials, key=lambda one: one.outcome is Outcome.INCONCLUSIVE):
        newest.setdefault((one.variant, one.device_class), (one.variant, one.device_class, one.outcome, one.words))
    if not newest:
        text = "No device has tried it beside what it runs: `edgeops benchmark`."
    else:
        text = table(("variant", "class of devices", "outcome", "why"), newest.values())
    return Section(title="On devices", text=text)


def _warnings(facts: Facts) -> Section:
    told = dict.fromkeys((*facts.schema.warnings, *facts.warnings))
    return Section(title="Warnings", text=bullets(plain(one) for one in told))


def _lineage(facts: Facts, descriptor: Descriptor) -> Section:
    lineage, schema = descriptor.manifest.lineage, facts.schema
    told = {
        "file": descriptor.digest,
        "snapshot": lineage.snapshot,
        "imported file": schema.source,
        "snapshot that it extends": schema.parent,
        "file that was brought": lineage.brought,
        "calibration rows": lineage.calibration,
        "recipe": lineage.recipe_digest,
        "commit": lineage.commit,
        "run": facts.run,
        "made at": facts.created_at.astimezone(UTC).isoformat(timespec="seconds"),
    }
    return Section(title="Lineage", text=bullets(f"{name}: `{value}`" for name, value in told.items() if value))
