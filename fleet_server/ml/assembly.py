"""Puts one variant together: judges the file, puts in what was learnt from judging it, describes the result.

Inside an artifact is only what a rebuild repeats. Judgements, reference profile and golden vectors all go through
`Model.predict` of the very file that ships. Nothing is trained, stored or published here.
"""

import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import (
    FORMAT,
    Lineage,
    Manifest,
    Output,
    Requirements,
    Transform,
    Variant,
    encode_value,
)
from edgeops.artifact.operators import minimal_runtime
from edgeops.artifact.package import describe, package
from edgeops.data.splits import Split
from edgeops.digest import digest_bytes
from edgeops.learning.promotion import Measured
from edgeops.model.golden import make_golden
from edgeops.model.model import Model
from edgeops.sketch.caveats import reference_warnings
from edgeops.sketch.reference import encode_reference
from fleet_server.ml.card import write_card
from fleet_server.ml.card_worth import worth_of_parts
from fleet_server.ml.conversion import Converted, convert
from fleet_server.ml.examiner import Examiner
from fleet_server.ml.frames import Built, BuiltVariant
from fleet_server.ml.judging import JudgedT, Judgement
from fleet_server.ml.scrutiny import scrutinize
from fleet_server.ml.trained import Trained
from fleet_server.ml.windows import Windows

_GOLDEN_WINDOWS = 16
#: Of large windows fewer are kept, so that an artifact is not mostly golden vectors.
_GOLDEN_VALUES, _FEWEST_GOLDEN = 1 << 15, 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Assembled(Generic[JudgedT]):
    """One variant, written into the task's destination."""

    built: BuiltVariant
    judgement: Judgement[JudgedT]
    #: What a person should know of its reference, in words.
    warnings: tuple[str, ...]


def assemble(
    trained: Trained,
    examiner: Examiner[JudgedT],
    variant: Variant,
    converted: Converted,
    *,
    float32: Judgement[JudgedT] | None,
) -> Assembled[JudgedT]:
    """Make an artifact of a converted network.

    `float32` is how its unquantized sibling was judged; None = it is that.
    """
    task = trained.task
    draft = _manifest(trained, variant, converted, metrics={})
    before = _resident_bytes()
    model = load(package(converted.data, draft, reference=b"", golden=b"", card=""))
    judgement = examiner.judge(model)
    memory = max(_resident_bytes() - before, len(converted.data))
    reference, notes = examiner.reference(model, variant, judgement)
    scrutiny = scrutinize(model, trained, judgement.answers.costs, ask=examiner.costs)
    figures = examiner.figures(judgement, reference) | scrutiny.figures()
    manifest = _manifest(trained, variant, converted, metrics=figures)
    data = package(
        converted.data,
        manifest,
        reference=encode_reference(reference),
        golden=make_golden(model, _golden_windows(trained.windows.only(Split.TRAIN))),
        card=write_card(
            manifest,
            trained.schema,
            trained.learned,
            windows=(*trained.windows.words, *(trained.calibration_words if variant is Variant.INT8 else ())),
            worth=f"{examiner.worth(judgement, reference)}\n\n{worth_of_parts(scrutiny.slices, scrutiny.columns)}",
        ),
    )
    measured = Measured(size_bytes=len(data), memory_bytes=memory, p95_latency_ms=judgement.percentile_ms(95))
    promotion = examiner.promote(
        model, variant, judgement, scrutiny=scrutiny, float32=float32 or judgement, measured=measured
    )
    model.close()
    descriptor = describe(
        data,
        manifest,
        run=task.run,
        built_at=task.built_at,
        host=task.host,
        latency_p50_ms=judgement.percentile_ms(50),
        latency_p95_ms=measured.p95_latency_ms,
        memory_bytes=memory,
        promotion=promotion,
    )
    file = Path(task.destination) / f"{variant}.tflite"
    file.write_bytes(data)
    built = BuiltVariant(
        variant=variant,
        file=str(file),
        tflite_bytes=len(converted.data),
        descriptor=encode_value(descriptor),
        metrics=manifest.metrics,
        scrutiny=scrutiny,
    )
    return Assembled(built=built, judgement=judgement, warnings=(*notes, *reference_warnings(reference)))


def assemble_all(
    trained: Trained,
    examiner: Examiner[JudgedT],
    tf: Any,
    network: Callable[[], Any],
    *,
    report: Callable[[str, float], None],
) -> Built:
    """Convert, judge and write every variant of a network, which is made anew for each."""
    assembled: list[Assembled[JudgedT]] = []
    # The unquantized one first: the others are judged beside it.
    variants = [one for one in Variant if one is Variant.FLOAT32 or one in trained.task.variants]
    for place, variant in enumerate(variants):
        share = 0.65 + 0.35 * place / len(variants)
        report(f"converting {variant}", share)
        converted = convert(tf, network(), variant, calibration=trained.calibration)
        report(f"judging {variant}", share + 0.2 / len(variants))
        float32 = assembled[0].judgement if assembled else None
        assembled.append(assemble(trained, examiner, variant, converted, float32=float32))
    told = [
        *trained.windows.words[1:],
        *(trained.calibration_warnings if Variant.INT8 in variants else ()),
        *(warning for one in assembled for warning in one.warnings),
    ]
    return Built(variants=tuple(one.built for one in assembled), warnings=tuple(dict.fromkeys(told)))


def bare_model(trained: Trained, variant: Variant, converted: Converted) -> Model:
    """A converted network that can answer, and nothing more: what a fold is judged with."""
    manifest = _manifest(trained, variant, converted, metrics={})
    return load(package(converted.data, manifest, reference=b"", golden=b"", card=""))


def load(data: bytes) -> Model:
    """The runtime maps a file; it may be gone once it is open."""
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        file.write(data)
        file.flush()
        return Model.load(Path(file.name))


def _manifest(trained: Trained, variant: Variant, converted: Converted, *, metrics: dict[str, float]) -> Manifest:
    task, plan, schema = trained.task, trained.plan, trained.schema
    # A file that came as int8 was calibrated elsewhere.
    is_calibrated = variant is Variant.INT8 and len(trained.calibration) > 0
    output = Output(
        answer=converted.answer,
        embedding=converted.embedding,
        labels=schema.classes,
        units=schema.units,
        transform=Transform.NONE if plan.target is None else plan.target.transform,
        bounds=None if plan.target is None else plan.target.bounds,
        threshold=trained.threshold,
    )
    return Manifest(
        format=FORMAT,
        name=task.model,
        version=str(task.version),
        variant=variant,
        task=schema.task,
        inputs=converted.inputs,
        outputs=converted.outputs,
        window=trained.windows.window,
        preprocess=plan.preprocess,
        missing=plan.missing,
        channels=trained.channels,
        output=output,
        budgets=plan.budgets,
        requirements=Requirements(ops=converted.ops, minimal_runtime=minimal_runtime(converted.data)),
        metrics=metrics,
        lineage=Lineage(
            snapshot=task.snapshot_digest,
            recipe=task.recipe,
            recipe_digest=plan.digest(),
            seed=task.seed,
            commit=task.commit,
            difference=task.difference,
            libraries=trained.libraries,
            calibration=digest_bytes(trained.calibration.tobytes()) if is_calibrated else None,
            brought=plan.brought,
        ),
    )


def _golden_windows(train: Windows) -> list[NDArray[np.float32]]:
    """Whole ones, spread over those that were learnt from."""
    whole = train.values[~np.isnan(train.values).any(axis=(1, 2))]
    most = max(_FEWEST_GOLDEN, min(_GOLDEN_WINDOWS, _GOLDEN_VALUES // math.prod(whole.shape[1:])))
    places = np.linspace(0, len(whole) - 1, num=min(most, len(whole)), dtype=np.int64)
    return list(whole[places])


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
