"""What the agent costs per inference, against the bare runtime in the same run.

Both sides have their turn in blocks, so that both see the same machine. Means are CPU time of this
thread, percentiles wall time: a percentile shows the scheduler too.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_agent.core import DeploymentCore
from device_agent.lane import Charge
from device_agent.pairing import percentiles_us
from device_agent.store.spool import Spool
from edgeops.digest import digest_file
from edgeops.model.model import Model
from edgeops.model.postprocess import Prediction
from edgeops.model.runtime import load_interpreter
from edgeops.protocol.messages import Phase

#: Inferences of one side before the other has its turn.
_BLOCK = 250
_SEED = 20


@dataclass(frozen=True, slots=True)
class Timing:
    """Microseconds per inference, of the bare runtime and of the agent's whole path."""

    inferences: int
    elements: int
    channels: int
    bare_mean_us: float
    bare_p50_us: int
    bare_p99_us: int
    agent_mean_us: float
    agent_p50_us: int
    agent_p95_us: int
    agent_p99_us: int

    @property
    def overhead_us(self) -> float:
        """What the agent adds per inference, in the mean."""
        return self.agent_mean_us - self.bare_mean_us


def time_inference(artifact: Path, spool: Spool, *, inferences: int) -> Timing:
    """Compare set_tensor + invoke + get_tensor with the agent's path, in interleaved blocks.

    The agent's path is `DeploymentCore.take`, from a row to a sink that does nothing: input window,
    preprocessing, inference, answer, channels, sketch, and the telemetry windows in the spool.

    Raises:
        ArtifactError: the artifact cannot be loaded.
    """
    model = Model.load(artifact)
    core = DeploymentCore("timing", keeper=spool, clock_ns=time.perf_counter_ns, trial=_no_trial)
    core.use_sinks((_NullSink(),))
    core.put_in_charge(Charge(digest_file(artifact), Phase.LIVE, model))
    bare = _Side(_bare(artifact))
    agent = _Side(_agent(core, model))
    for side in (bare, agent):
        side.warm_up()
    while agent.inferences < inferences:
        bare.block()
        agent.block()
    core.close_window()
    model.close()
    bare_p50, bare_p99 = percentiles_us(bare.wall_ns, (0.50, 0.99))
    p50, p95, p99 = percentiles_us(agent.wall_ns, (0.50, 0.95, 0.99))
    return Timing(
        inferences=agent.inferences,
        elements=int(np.prod(model.manifest.inputs[0].shape)),
        channels=len(model.manifest.channels),
        bare_mean_us=bare.mean_us,
        bare_p50_us=bare_p50,
        bare_p99_us=bare_p99,
        agent_mean_us=agent.mean_us,
        agent_p50_us=p50,
        agent_p95_us=p95,
        agent_p99_us=p99,
    )


class _Side:
    """One of the two, measured."""

    def __init__(self, infer: Callable[[int], None]) -> None:
        self._infer = infer
        self.inferences = 0
        self.cpu_ns = 0
        self.wall_ns: list[int] = []

    @property
    def mean_us(self) -> float:
        return self.cpu_ns / self.inferences / 1000

    def warm_up(self) -> None:
        for at in range(_BLOCK):
            self._infer(at)

    def block(self) -> None:
        infer, wall_ns, clock_ns = self._infer, self.wall_ns, time.perf_counter_ns
        cpu_ns = time.thread_time_ns()
        for at in range(_BLOCK):
            started_ns = clock_ns()
            infer(at)
            wall_ns.append(clock_ns() - started_ns)
        self.cpu_ns += time.thread_time_ns() - cpu_ns
        self.inferences += _BLOCK


def _bare(artifact: Path) -> Callable[[int], None]:
    """Every input set, every output got; nothing else."""
    interpreter = load_interpreter(artifact)
    inputs: list[tuple[int, NDArray[Any]]] = [
        (detail["index"], np.zeros(detail["shape"], detail["dtype"])) for detail in interpreter.get_input_details()
    ]
    outputs = [detail["index"] for detail in interpreter.get_output_details()]

    def infer(_at: int) -> None:
        for index, value in inputs:
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        for index in outputs:
            interpreter.get_tensor(index)

    return infer


def _agent(core: DeploymentCore, model: Model) -> Callable[[int], None]:
    """As many rows as complete one input window, through the core."""
    window = model.manifest.window
    rows = np.random.default_rng(_SEED).normal(size=(_BLOCK + window.rows, len(window.measured))).astype(np.float32)
    take, stride, moment_ns = core.take, window.stride, time.time_ns()
    for row in rows[: max(0, window.rows - stride)]:
        take(row, "warm", 0, moment_ns=moment_ns)

    def infer(at: int) -> None:
        for step in range(stride):
            take(rows[(at + step) % _BLOCK], "row", at, moment_ns=moment_ns)

    return infer


class _NullSink:
    """Hears everything and does nothing."""

    actuating = False
    dropped = 0

    def begin(self, digest: str, phase: Phase) -> None:
        """Nothing."""

    def take(self, input_id: str, prediction: Prediction, now_ns: int) -> None:
        """Nothing."""

    def tick(self, now_ns: int) -> None:
        """Nothing."""

    def flush(self, now_ns: int) -> None:
        """Nothing."""

    def rest(self, now_ns: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def _no_trial(*, ok: bool, latency_us: int, detail: str = "") -> None:
    raise AssertionError(f"no trial is under way: {ok} {latency_us} {detail}")
