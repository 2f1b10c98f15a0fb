"""Writes the model card (Mitchell et al. 2019): what the model is for, made of, worth, and not able to.

Only what a rebuild repeats is in it: no times, hosts or latencies.
"""

import numpy as np

from edgeops.artifact.manifest import Manifest, Transform
from edgeops.data.schema import Schema
from edgeops.learning.metrics import Answers
from fleet_server.ml.training import Learned

_CONFUSIONS_SHOWN = 5


def write_card(manifest: Manifest, schema: Schema, judged: Answers, learned: Learned) -> str:
    """The card as Markdown."""
    sections = (
        _title(manifest, schema),
        _data(manifest, schema),
        _training(manifest, learned),
        _worth(judged, schema.classes),
        _limits(manifest, schema),
    )
    return "\n\n".join(sections) + "\n"


def _title(manifest: Manifest, schema: Schema) -> str:
    return f"""# {manifest.name} {manifest.version} ({manifest.variant})

A {manifest.task} model: it reads {_reading(schema)} and answers with one of {len(schema.classes)} classes
({", ".join(schema.classes[:20])}{" ..." if len(schema.classes) > 20 else ""}), a confidence and an embedding of
{manifest.outputs[manifest.output.embedding or 0].shape[-1]} numbers. It is meant for devices whose inputs come from
the same kind of source as the data below."""


def _reading(schema: Schema) -> str:
    if len(schema.shape) > 1:
        return f"an image of {' x '.join(map(str, schema.shape))} values"
    names = ", ".join(schema.columns[:8])
    return f"a row of {len(schema.columns)} columns ({names}{' ...' if len(schema.columns) > 8 else ''})"


def _data(manifest: Manifest, schema: Schema) -> str:
    train, validation, evaluation = schema.split_rows
    chosen = f"\n- rows chosen: {' and '.join(schema.where)}" if schema.where else ""
    counts = ", ".join(f"{name} {rows}" for name, rows in zip(schema.classes, schema.class_rows, strict=True))
    return f"""## Data

- snapshot `{manifest.lineage.snapshot}`, from the file `{schema.source}`{chosen}
- {train} rows to learn from, {validation} to stop on, {evaluation} held out to judge (stratified, seed {schema.seed})\
{_bought(schema)}
- rows per class: {counts}"""


def _bought(schema: Schema) -> str:
    """Of a healed model: what was bought, and who was left out."""
    if schema.parent is None:
        return ""
    without = f", without {', '.join(schema.without)}" if schema.without else ""
    return f"""
- extends `{schema.parent}`: {schema.bought_rows} of the rows to learn from were nominated by devices and labelled
  ({len(schema.devices)} devices{without}), {schema.fresh_rows} of them since by people"""


def _training(manifest: Manifest, learned: Learned) -> str:
    lineage, preprocess = manifest.lineage, manifest.preprocess
    logarithm = "signed log1p, " if preprocess.transform is Transform.SIGNED_LOG1P else ""
    clip = f", clipped at {preprocess.clip:g}" if preprocess.clip is not None else ""
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(lineage.libraries.items()))
    return f"""## Training

- recipe `{lineage.recipe}` (`{lineage.recipe_digest}`), seed {lineage.seed}
- preprocessing: {logarithm}one multiply-add per {"image" if len(preprocess.multiply) == 1 else "column"}{clip}
- {learned.epochs} epochs, weights of epoch {learned.best_epoch}: validation loss {learned.validation_loss:.4f},
  accuracy {learned.validation_accuracy:.4f}
- {libraries}{f"; commit {lineage.commit}" if lineage.commit else ""}"""


def _worth(judged: Answers, classes: tuple[str, ...]) -> str:
    rows = [
        f"| {name} | {precision:.3f} | {recall:.3f} | {f1:.3f} | {count} |"
        for name, precision, recall, f1, count in zip(
            classes,
            judged.precision,
            judged.recall,
            judged.f1,
            judged.confusion.sum(axis=1),
            strict=True,
        )
    ]
    table = "\n".join(["| class | precision | recall | F1 | rows |", "|---|---|---|---|---|", *rows])
    return f"""## What it is worth

Judged on this very file, through the same code that a device runs, on {len(judged)} rows it never saw:
accuracy {judged.accuracy:.4f}, macro F1 {float(judged.f1.mean()):.4f}; always answering the most frequent class
scores {judged.majority:.4f}.

{table}

{_confusions(judged, classes)}"""


def _confusions(judged: Answers, classes: tuple[str, ...]) -> str:
    """The mistakes that happen most."""
    wrong = judged.confusion[:, : len(classes)].copy()
    np.fill_diagonal(wrong, 0)
    worst = [divmod(int(place), len(classes)) for place in np.argsort(-wrong, axis=None, kind="stable")]
    shown = [
        f"{classes[truth]} taken for {classes[answer]} ({wrong[truth, answer]})"
        for truth, answer in worst[:_CONFUSIONS_SHOWN]
        if wrong[truth, answer]
    ]
    return f"Most frequent mistakes: {', '.join(shown)}." if shown else "It made no mistake on these rows."


def _limits(manifest: Manifest, schema: Schema) -> str:
    missing = "refused" if manifest.missing == "refuse" else "read as the mean of the training rows"
    rarest = min(zip(schema.class_rows, schema.classes, strict=True))
    return f"""## Limits

- It knows only the classes above; anything else is answered with one of them.
- Missing values are {missing}.
- The rarest class, {rarest[1]}, had {rarest[0]} rows in all; its figures are the least certain.
- The figures hold for data like the training data. Whether a device's inputs still are, its telemetry tells:
  {len(manifest.channels)} channels are watched against the reference profile in this file."""
