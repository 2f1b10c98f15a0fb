"""Whether a plan that a recipe of the owner's own gives can be followed: asked before anything is learnt by it."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import msgspec

from edgeops import limits
from edgeops.artifact.manifest import Task, check_preprocess
from edgeops.data.schema import Schema
from edgeops.errors import ArtifactError, ConfigError
from edgeops.model.spectrogram import frame_count
from fleet_server.ml.recipes.plan import Plan


def checked_plan(made: object, schema: Schema) -> Plan:
    """The plan, with plain numbers where NumPy's were given.

    Raises:
        ConfigError: it is none, or says what cannot be; the message tells what.
    """
    if not isinstance(made, Plan):
        raise ConfigError(f"it gives {repr(made)[:80]}, not a Plan")
    plan = _typed(made)
    _check_course(plan)
    _check_task(plan, schema)
    _check_input(plan, schema)
    return plan


def _typed(made: Plan) -> Plan:
    values = {}
    for field in dataclasses.fields(Plan):
        try:
            plain = msgspec.to_builtins(getattr(made, field.name), enc_hook=_plain)
            values[field.name] = msgspec.convert(plain, field.type)
        except (msgspec.ValidationError, TypeError, ValueError) as error:
            raise ConfigError(f"{field.name}: {error}") from error
    return Plan(**values)


def _plain(value: Any) -> Any:
    if not hasattr(value, "tolist"):
        raise TypeError(f"it has {repr(value)[:80]}")
    return value.tolist()


def _check_course(plan: Plan) -> None:
    if not 1 <= plan.epochs <= limits.MAX_EPOCHS or min(plan.batch_rows, plan.patience) < 1:
        raise ConfigError(
            f"epochs {plan.epochs}, batch_rows {plan.batch_rows} and patience {plan.patience} must be 1 or more, and "
            f"epochs {limits.MAX_EPOCHS} at most"
        )
    _require_positive("learning_rate", (plan.learning_rate,))
    _require_positive("budgets", (plan.budgets.p95_latency_ms, plan.budgets.memory_bytes))
    if plan.shift_pixels < 0 or (plan.shift_pixels and not plan.is_image):
        raise ConfigError(f"shift_pixels is {plan.shift_pixels}; images alone are shifted, by 0 or more")


def _check_task(plan: Plan, schema: Schema) -> None:
    if (plan.target is not None) != (schema.task is Task.REGRESSION):
        raise ConfigError("numbers alone have a target; write target=target_of(schema, targets, options)")
    if plan.class_weights is not None:
        if len(plan.class_weights) != len(schema.classes):
            raise ConfigError(f"class_weights has {len(plan.class_weights)} entries for {len(schema.classes)} classes")
        _require_positive("class_weights", plan.class_weights)
    if (plan.margin is not None) != (schema.task is Task.ANOMALY):
        raise ConfigError("a margin says where alarms begin; a recipe for anomalies gives one, others none")
    if plan.margin is not None:
        _require_positive("margin", (plan.margin,))


def _check_input(plan: Plan, schema: Schema) -> None:
    window = plan.window or schema.window()
    if window.columns != schema.columns:
        raise ConfigError("the window has other columns than the dataset; write window=asked_window(schema, options)")
    try:
        check_preprocess(plan.preprocess, window)
    except ArtifactError as error:
        raise ConfigError(str(error)) from error
    for name, numbers in (("multiply", plan.preprocess.multiply), ("add", plan.preprocess.add)):
        if not all(map(math.isfinite, numbers)):
            raise ConfigError(f"preprocess.{name} has a number that is not finite: {numbers[:8]}")
    if plan.preprocess.clip is not None:
        _require_positive("preprocess.clip", (plan.preprocess.clip,))
    spectrogram = plan.preprocess.spectrogram
    rows = window.rows if spectrogram is None else frame_count(spectrogram, rows=window.rows)
    values = rows * len(window.columns) * (1 if spectrogram is None else spectrogram.bands)
    if math.prod(plan.input_shape) != values:
        raise ConfigError(
            f"input_shape {plan.input_shape} holds {math.prod(plan.input_shape)} values, an input has {values}"
        )
    if min(plan.input_shape, default=0) < 1 or (plan.is_image and len(plan.input_shape) != 3):
        raise ConfigError(f"input_shape {plan.input_shape} is none; that of an image is (height, width, colours)")


def _require_positive(name: str, numbers: Iterable[float]) -> None:
    if wrong := [one for one in numbers if not 0 < one < math.inf]:
        raise ConfigError(f"{name} has {wrong[0]}; give a number above 0")
