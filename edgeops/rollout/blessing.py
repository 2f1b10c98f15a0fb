"""What a benchmark is worth, and whether the devices that a rollout means have blessed its artifact.

A device blesses an artifact for its class: architecture, runtime and board. Of a class the newest benchmark counts that
says something of the model; one that could not be made (no contact, no disk) says nothing. Pure: who is asked is
chosen here, asking and storing are `fleet_server.blessings`'s.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from edgeops import limits
from edgeops.artifact.manifest import Budgets
from edgeops.protocol.messages import Benchmarked, Reason


class Demand(StrEnum):
    """What a rollout demands before its first wave."""

    #: No blessing.
    NONE = "none"
    #: One device of each class; people ask for the benchmarks.
    REQUIRED = "required"
    #: The same, and the server asks for them.
    AUTO = "auto"


class Outcome(StrEnum):
    """What a benchmark is worth."""

    #: It answers as it must, within the budgets of its manifest.
    BLESSED = "blessed"
    #: It does not.
    REFUSED = "refused"
    #: It could not be tried; that says nothing of the model.
    INCONCLUSIVE = "inconclusive"


#: What is the model's fault, or its misfit.
_ITS_OWN = frozenset({Reason.GOLDEN, Reason.PROBE, Reason.INCOMPATIBLE})


@dataclass(frozen=True, slots=True)
class Judgement:
    """An outcome and why, for people; a blessing names what was measured."""

    outcome: Outcome
    words: str


def device_class(arch: str, runtime: str, board: str) -> str:
    """What devices have in common on which a model does alike: `aarch64 / litert / Raspberry Pi 4 Model B`."""
    return " / ".join(part for part in (arch, runtime, board) if part)


def judge_benchmark(result: Benchmarked, budgets: Budgets) -> Judgement:
    """Hold what a device measured against the limits that the model must keep."""
    if result.reason is not Reason.NONE:
        outcome = Outcome.REFUSED if result.reason in _ITS_OWN else Outcome.INCONCLUSIVE
        return Judgement(outcome, f"{result.reason}: {result.detail}"[: limits.MAX_DETAIL_LENGTH])
    p95_ms, memory_mib = result.latency_p95_us / 1000, result.memory_bytes / 2**20
    held_back = ", while its processor was held back by heat or power" if result.throttled else ""
    beyond = []
    if p95_ms > budgets.p95_latency_ms:
        beyond.append(f"95 % of the answers take up to {p95_ms:g} ms{held_back}, {budgets.p95_latency_ms:g} ms may")
    if result.memory_bytes > budgets.memory_bytes:
        beyond.append(f"it takes {memory_mib:.1f} MiB of memory, {budgets.memory_bytes / 2**20:.1f} MiB may")
    if beyond:
        return Judgement(Outcome.REFUSED, "; ".join(beyond))
    return Judgement(Outcome.BLESSED, f"{result.detail}; p95 {p95_ms:g} ms, {memory_mib:.1f} MiB")


# -- what a rollout lacks --------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassStanding:
    """How one class of the devices that a rollout means stands to its artifact."""

    device_class: str
    #: Of the newest benchmark that says something; None = there is none.
    outcome: Outcome | None = None
    words: str = ""
    #: A device of it has been asked and has not answered.
    is_asked: bool = False
    #: Benchmarks that this rollout asked for and that said nothing; the last one's words.
    vain: int = 0
    vain_words: str = ""
    #: Devices of it that the rollout means, those that can be asked first.
    devices: Sequence[str] = ()
    online: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Blessed:
    """Nothing is in the way."""


@dataclass(frozen=True, slots=True)
class Unblessed:
    """It waits; why and for what, for people."""

    words: str


@dataclass(frozen=True, slots=True)
class Refusing:
    """A class said no; why, for people."""

    words: str


Blessing = Blessed | Unblessed | Refusing


def blessing_verdict(demand: Demand, standings: Iterable[ClassStanding], *, command: str) -> Blessing:
    """Whether a rollout may begin; `command` is what people type, its `DEVICE` stands for a device."""
    if demand is Demand.NONE:
        return Blessed()
    lacking: list[str] = []
    for one in standings:
        match one.outcome:
            case Outcome.REFUSED:
                return Refusing(f"a device of class {one.device_class} did not bless the model: {one.words}")
            case Outcome.BLESSED:
                continue
            case _:
                lacking.append(_lacking(demand, one, command))
    if not lacking:
        return Blessed()
    named = lacking[: limits.NAMED_IN_ERRORS]
    more = f"; and {len(lacking) - len(named)} more" if len(lacking) > len(named) else ""
    return Unblessed("; ".join(named) + more)


def whom_to_ask(demand: Demand, standings: Iterable[ClassStanding]) -> tuple[str, ...]:
    """One device of each class that lacks a blessing and was not asked too often in vain, where the server asks."""
    if demand is not Demand.AUTO:
        return ()
    return tuple(
        # Another one each time, as far as there are others.
        one.online[one.vain % len(one.online)]
        for one in standings
        if one.outcome is None and not one.is_asked and one.online and one.vain < limits.BLESSING_ATTEMPTS
    )


def _lacking(demand: Demand, one: ClassStanding, command: str) -> str:
    words = f"no device of class {one.device_class} has blessed the model"
    last = f" (the last benchmark: {one.vain_words})" if one.vain_words else ""
    if one.is_asked:
        return f"{words}{last}; one is asked"
    device = next(iter((*one.online, *one.devices)), "ID")
    if demand is Demand.AUTO and one.vain < limits.BLESSING_ATTEMPTS:
        return f"{words}{last}; one is asked when it is online, as {device}"
    return f"{words}{last}: {command.replace('DEVICE', device)}"
