"""Runs a recipe of the owner's own, in the child process that trains and nowhere else.

Whatever such a file does wrong is told with its line: it raises, does not end, or gives what is no plan or no network.
What it prints goes nowhere. This guards against mistakes, not against malice: the file does what this process may do.
"""

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

from edgeops import limits
from edgeops.data.schema import Schema
from edgeops.errors import ConfigError, InputError
from fleet_server.ml.recipes.catalog import Recipe
from fleet_server.ml.recipes.folder import RecipeFile
from fleet_server.ml.recipes.head import Head
from fleet_server.ml.recipes.plan import Plan, refuse_unknown

_BOLD = re.compile(r"\x1b\[1m(.*?)\x1b\[0m", re.DOTALL)
_LONGEST = 500


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

    def plan(schema: Schema, rows: Any, targets: Any, options: Any) -> Plan:
        refuse_unknown(options, file.options, recipe=file.name, schema=schema)
        with blaming(file), _quiet(), _for(time_s):
            made = module.plan(schema, rows, targets, options)
        checked = _plan(made, schema, lambda wrong: _refuse(file, module.plan, wrong))
        return replace(checked, recipe=file.name, source=file.digest)

    def network(tf: Any, input_shape: tuple[int, ...], head: Head, seed: int, batch: int | None) -> Any:
        with blaming(file), _quiet(), _for(time_s):
            made = module.network(tf, input_shape, head, seed, batch)
        _require_network(tf, made, (batch, *input_shape), head, lambda wrong: _refuse(file, module.network, wrong))
        return made

    return Recipe(plan, network, file.tasks, file.options)


@contextmanager
def blaming(file: RecipeFile) -> Iterator[None]:
    """What a line of the file has caused is told with that line.

    Raises:
        ConfigError: something failed that a line of the file was under way in.
    """
    try:
        yield
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
    def end(_signal: int, _frame: object) -> Never:
        raise _TookTooLongError(f"not done after {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _quiet() -> Iterator[None]:
    with Path(os.devnull).open("w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
        yield


def _refuse(file: RecipeFile, function: Any, wrong: str) -> Never:
    raise ConfigError(f"{file.path.name}, line {function.__code__.co_firstlineno}, in {function.__name__}: {wrong}")


def _plan(made: object, schema: Schema, refuse: Callable[[str], Never]) -> Plan:
    if not isinstance(made, Plan):
        refuse(f"it gives {_shown(made)}, not a Plan")
    values = (1 if made.window is None else made.window.rows) * len(schema.columns)
    if math.prod(made.input_shape) != values:
        refuse(f"input_shape {made.input_shape} holds {math.prod(made.input_shape)} values, an input has {values}")
    if min(made.epochs, made.batch_rows, made.patience) < 1:
        refuse(f"epochs {made.epochs}, batch_rows {made.batch_rows} and patience {made.patience} must be 1 or more")
    return made


def _require_network(
    tf: Any, made: Any, shape: tuple[int | None, ...], head: Head, refuse: Callable[[str], Never]
) -> None:
    if not isinstance(made, tf.keras.Model):
        refuse(f"it gives {_shown(made)}, not a Keras model")
    inputs, outputs = [[tuple(one.shape) for one in tensors] for tensors in (made.inputs, made.outputs)]
    if inputs != [shape]:
        refuse(f"the model reads {inputs}, not one input of shape {shape}")
    answer = (shape[0], head.values)
    if len(outputs) != 2 or outputs[0] != answer or len(outputs[1]) != 2:
        refuse(f"the model gives {outputs}, not [answer, embedding] of shapes {answer} and ({shape[0]}, any)")


def _shown(made: object) -> str:
    return repr(made)[:80]
