"""Runs a recipe of the owner's own, in the child process that trains and nowhere else.

Whatever such a file does wrong is told with its line: it raises, does not end, or gives what is no plan or no network.
What it prints goes nowhere. This guards against mistakes, not against malice: the file does what this process may do.
"""

import inspect
import math
import os
import re
import signal
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any, Never

import numpy as np

from edgeops import limits
from edgeops.artifact.manifest import Task
from edgeops.data.schema import Schema
from edgeops.errors import ArtifactError, ConfigError, InputError
from fleet_server.ml.recipes.catalog import Recipe
from fleet_server.ml.recipes.folder import RecipeFile
from fleet_server.ml.recipes.head import ANSWER, Head
from fleet_server.ml.recipes.plan import Plan, refuse_unknown
from fleet_server.ml.recipes.plan_check import checked_plan

_BOLD = re.compile(r"\x1b\[1m(.*?)\x1b\[0m", re.DOTALL)
_LONGEST = 500
#: Of 32-bit floats.
_SUM_TOLERANCE = 1e-3


def load_recipe(file: RecipeFile, *, time_s: float = limits.RECIPE_TIME.total_seconds()) -> Recipe:
    """Run the file, and guard its two functions: each may take so long.

    Raises:
        ConfigError: it cannot be run.
    """
    module = types.ModuleType(f"recipe_{file.name}")
    module.__file__ = str(file.path)
    # Where Python looks up the module of a class.
    sys.modules[module.__name__] = module
    with blaming(file), _quiet(), _for(time_s):
        exec(compile(file.source, str(file.path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - its purpose

    def call(name: str, *arguments: Any) -> Any:
        function = getattr(module, name)
        try:
            inspect.signature(function).bind(*arguments)
        except TypeError as error:
            _refuse(file, name, f"it is called with {len(arguments)} arguments: {error}")
        with blaming(file), _quiet(), _for(time_s):
            return function(*arguments)

    def plan(schema: Schema, rows: Any, targets: Any, options: Any) -> Plan:
        refuse_unknown(options, file.options, recipe=file.name, schema=schema)
        made = call("plan", schema, rows, targets, options)
        try:
            checked = checked_plan(made, schema)
        except ConfigError as error:
            _refuse(file, "plan", str(error))
        return replace(checked, recipe=file.name, source=file.digest)

    def network(tf: Any, input_shape: tuple[int, ...], head: Head, seed: int, batch: int | None) -> Any:
        made = call("network", tf, input_shape, head, seed, batch)
        _require_network(tf, made, (batch, *input_shape), head, lambda wrong: _refuse(file, "network", wrong))
        if head.task is Task.CLASSIFICATION:
            trial = np.linspace(-1.0, 1.0, math.prod(input_shape), dtype=np.float32).reshape(1, *input_shape)
            with blaming(file), _quiet(), _for(time_s):
                answer = np.asarray(made(trial, training=False)[0])[0]
            if not (answer.min() >= 0 and abs(answer.sum() - 1) <= _SUM_TOLERANCE):
                _refuse(file, "network", f"it answers {answer[:8]}, no probabilities; let it end in head.layer")
        return made

    return Recipe(plan, network, file.tasks, file.options)


@contextmanager
def blaming(file: RecipeFile) -> Iterator[None]:
    """What a line of the file has caused is told with that line.

    Raises:
        ConfigError: something failed that a line of the file was under way in, or no file can be made of its network.
    """
    try:
        yield
    except ArtifactError as error:
        raise ConfigError(f"{file.path.name}: {error}") from error
    except InputError:
        raise
    except (Exception, SystemExit, _TookTooLongError) as error:
        line = next(
            (one for one in reversed(traceback.extract_tb(error.__traceback__)) if one.filename == str(file.path)), None
        )
        if line is None:
            raise
        what = str(error) if isinstance(error, _TookTooLongError) else f"{type(error).__name__}: {_brief(error)}"
        raise ConfigError(f"{file.path.name}, line {line.lineno}, in {line.name}: {what}") from error


def _brief(error: BaseException) -> str:
    """One line. Keras tells its own story around what a layer said, and what it said in bold."""
    bold = _BOLD.search(str(error))
    return " ".join((bold[1] if bold else str(error)).split())[:_LONGEST]


class _TookTooLongError(BaseException):
    """No `Exception`, for a recipe may catch those."""


@contextmanager
def _for(seconds: float) -> Iterator[None]:
    is_told = False

    def end(_signal: int, _frame: object) -> Never:
        nonlocal is_told
        if is_told:
            # It caught what told it so. The last words of this process say in which line it is.
            os.abort()
        is_told = True
        raise _TookTooLongError(f"not done after {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _quiet() -> Iterator[None]:
    with Path(os.devnull).open("w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
        yield


def _refuse(file: RecipeFile, function: str, wrong: str) -> Never:
    raise ConfigError(f"{file.path.name}, line {file.lines[function]}, in {function}: {wrong}")


def _require_network(
    tf: Any, made: Any, shape: tuple[int | None, ...], head: Head, refuse: Callable[[str], Never]
) -> None:
    if not isinstance(made, tf.keras.Model):
        refuse(f"it gives {repr(made)[:80]}, not a Keras model")
    inputs, outputs = [[tuple(one.shape) for one in tensors] for tensors in (made.inputs, made.outputs)]
    if inputs != [shape]:
        refuse(f"the model reads {inputs}, not one input of shape {shape}")
    answer = (shape[0], head.values)
    if len(outputs) != 2 or outputs[0] != answer or len(outputs[1]) != 2:
        refuse(f"the model gives {outputs}, not [answer, embedding] of shapes {answer} and ({shape[0]}, any)")
    if not made.trainable_variables:
        refuse("nothing of the model can be trained")
    if head.task is Task.REGRESSION and not any(
        layer.name == ANSWER and layer.output is made.outputs[0] for layer in made.layers
    ):
        refuse("its last layer is to answer in units; let it end in head.layer")
