"""Writes the model card (Mitchell et al. 2019): what the model is for, made of, worth, and not able to.

Only what a rebuild repeats is in it: no times, hosts or latencies.
"""

from edgeops.artifact.manifest import Manifest, Preprocess, Task, Transform
from edgeops.card.cautions import cautions
from edgeops.card.markdown import bullets, plain
from edgeops.data.rules import SplitBy
from edgeops.data.schema import Schema
from fleet_server.ml.training import Learned


def write_card(
    manifest: Manifest, schema: Schema, learned: Learned | None, *, windows: tuple[str, ...], worth: str
) -> str:
    """The card as Markdown.

    `windows` says what was learnt from where that is not single rows; `worth` is the section that differs from task to
    task (`card_worth`).
    """
    sections = (
        _title(manifest, schema),
        _data(manifest, schema, windows),
        _training(manifest, learned),
        worth,
        _limits(manifest, schema),
    )
    return "\n\n".join(sections) + "\n"


def _title(manifest: Manifest, schema: Schema) -> str:
    return f"""# {manifest.name} {manifest.version} ({manifest.variant})

A {manifest.task} model: it reads {_reading(manifest, schema)} and answers with {_answering(schema)}\
{_embedding(manifest)}. It is meant for devices whose inputs come from
the same kind of source as the data below."""


def _embedding(manifest: Manifest) -> str:
    place = manifest.output.embedding
    return "" if place is None else f" and an embedding of\n{manifest.outputs[place].shape[-1]} numbers"


def _answering(schema: Schema) -> str:
    if schema.task is Task.ANOMALY:
        return "a score, which raises an alarm above a threshold,"
    if schema.task is not Task.CLASSIFICATION:
        return f"`{schema.label}`{f' in {schema.units}' if schema.units else ''}"
    names = f"{plain(', '.join(schema.classes[:20]))}{' ...' if len(schema.classes) > 20 else ''}"
    return f"one of {len(schema.classes)} classes\n({names}), a confidence"


def _reading(manifest: Manifest, schema: Schema) -> str:
    if len(schema.shape) > 1:
        return f"an image of {' x '.join(map(str, schema.shape))} values"
    if schema.clip:
        channels = f"{len(schema.columns)} channel{'s' if len(schema.columns) > 1 else ''}"
        return f"a recording of {schema.clip.rows} readings of {channels} at {schema.clip.rate_hz:g} Hz"
    names = plain(", ".join(schema.columns[:8]))
    rows = "a row" if manifest.window.rows == 1 else f"a window of {manifest.window.rows} rows"
    return f"{rows} of {len(schema.columns)} columns ({names}{' ...' if len(schema.columns) > 8 else ''})"


def _data(manifest: Manifest, schema: Schema, windows: tuple[str, ...]) -> str:
    train, validation, evaluation = schema.split_rows
    chosen = f"\n- rows chosen: {plain(' and '.join(schema.where))}" if schema.where else ""
    cut = "".join(f"\n- {words}" for words in windows)
    return f"""## Data

- snapshot `{manifest.lineage.snapshot}`, from the file `{schema.source}`{chosen}
- {train} rows to learn from, {validation} to stop on, {evaluation} held out to judge ({_drawn(schema)}){cut}\
{_bought(schema)}{_class_rows(schema)}"""


def _drawn(schema: Schema) -> str:
    """What decided which rows judge. Groups may be persons, so none is named."""
    rules = schema.rules
    split = rules.split if rules else SplitBy.ROW
    if split is SplitBy.ROW:
        return f"{'stratified, ' if schema.classes else ''}seed {schema.seed}"
    if rules and rules.held_out:
        return f"whole groups by name, of {schema.groups}"
    return (
        f"whole groups by chance, of {schema.groups}, seed {schema.seed}"
        if split is SplitBy.GROUP
        else "the latest rows"
    )


def _class_rows(schema: Schema) -> str:
    if not schema.classes:
        return ""
    counts = ", ".join(f"{name} {rows}" for name, rows in zip(schema.classes, schema.class_rows, strict=True))
    return f"\n- rows per class: {plain(counts)}"


def _bought(schema: Schema) -> str:
    """Of a healed model: what was bought, and who was left out."""
    if schema.parent is None:
        return ""
    without = f", without {', '.join(schema.without)}" if schema.without else ""
    return f"""
- extends `{schema.parent}`: {schema.bought_rows} of the rows to learn from were nominated by devices and labelled
  ({len(schema.devices)} devices{without}), {schema.fresh_rows} of them since by people"""


def _training(manifest: Manifest, learned: Learned | None) -> str:
    lineage = manifest.lineage
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(lineage.libraries.items()))
    return f"""## Training

- recipe `{lineage.recipe}` (`{lineage.recipe_digest}`), seed {lineage.seed}
- preprocessing: {_scaling(manifest)}
- {_course(manifest, learned)}
- {libraries}{f"; commit {lineage.commit}" if lineage.commit else ""}"""


def _scaling(manifest: Manifest) -> str:
    preprocess = manifest.preprocess
    if preprocess == Preprocess():
        return "none"
    logarithm = "signed log1p, " if preprocess.transform is Transform.SIGNED_LOG1P else ""
    clip = f", clipped at {preprocess.clip:g}" if preprocess.clip is not None else ""
    each = "value" if len(preprocess.multiply) == 1 else "column"
    return f"{logarithm}one multiply-add per {each}{clip}"


def _course(manifest: Manifest, learned: Learned | None) -> str:
    if manifest.lineage.brought is not None:
        return f"""a person brought the file `{manifest.lineage.brought}`; what it learnt from is not known here: the
  rows to learn from above set the ranges of int8 and the reference profile, nothing else"""
    if learned is None:
        return f"""learnt in one step: the squared distance of Mahalanobis (1936) of a window's mean from normal ones;
  {_beginning(manifest)}"""
    alarms = f";\n  {_beginning(manifest)}" if manifest.task is Task.ANOMALY else ""
    return f"""{_loss(manifest)}; {learned.epochs} epochs, weights of epoch {learned.best_epoch}: validation loss
  {learned.validation_loss:.4f}{alarms}"""


def _beginning(manifest: Manifest) -> str:
    return f"an alarm begins at {manifest.output.threshold:g}, set by normal validation windows"


def _loss(manifest: Manifest) -> str:
    if manifest.task is Task.CLASSIFICATION:
        return "loss: cross-entropy"
    if manifest.task is Task.ANOMALY:
        return "loss: the score of normal windows"
    if manifest.output.transform is Transform.SIGNED_LOG1P:
        return "loss: Huber, of the signed log1p of the number, so that errors are relative ones"
    return "loss: Huber, of the number"


def _limits(manifest: Manifest, schema: Schema) -> str:
    return f"""## Limits

{bullets(plain(one) for one in cautions(manifest, schema))}
- The figures hold for data like the training data. Whether a device's inputs still are, its telemetry tells:
  {len(manifest.channels)} channels are watched against the reference profile in this file."""
