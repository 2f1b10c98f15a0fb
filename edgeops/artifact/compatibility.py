"""Whether an artifact fits a device, from its descriptor and the device's facts, before a byte is fetched.

Every reason is found and named, not only the first. Operator versions are checked for runtimes whose development
has ended; what a living runtime cannot load is caught by the probe, as are silently wrong answers (golden vectors).
"""

from collections.abc import Mapping

from edgeops import limits
from edgeops.artifact.manifest import Descriptor
from edgeops.protocol.messages import DeviceFacts

_KNOWN_RUNTIMES = ("litert", "tflite-runtime")
#: Columns that are named where many are missing.
_NAMED = 5

#: Highest operator versions that tflite-runtime 2.14, its last release, registers; an operator that is absent here
#: is accepted in version 1.
_TFLITE_RUNTIME_2_14 = {
    "ABS": 5, "ADD": 5, "ARG_MAX": 3, "ARG_MIN": 3, "AVERAGE_POOL_2D": 3, "BATCH_MATMUL": 4, "BATCH_TO_SPACE_ND": 4,
    "BROADCAST_TO": 3, "CAST": 5, "CONCATENATION": 4, "CONV_2D": 7, "DEPTHWISE_CONV_2D": 7, "DEPTH_TO_SPACE": 2,
    "DEQUANTIZE": 5, "DIV": 2, "EMBEDDING_LOOKUP": 3, "EQUAL": 4, "EXP": 2, "FAKE_QUANT": 2, "FILL": 4,
    "FLOOR_DIV": 3, "FLOOR_MOD": 2, "FULLY_CONNECTED": 11, "GATHER": 6, "GATHER_ND": 4, "GREATER": 2,
    "GREATER_EQUAL": 3, "L2_NORMALIZATION": 2, "LEAKY_RELU": 2, "LESS": 3, "LESS_EQUAL": 2, "LOG": 2,
    "LOGISTIC": 3, "LOG_SOFTMAX": 2, "LSTM": 4, "MAXIMUM": 4, "MAX_POOL_2D": 3, "MEAN": 3, "MINIMUM": 4,
    "MIRROR_PAD": 3, "MUL": 7, "NOT_EQUAL": 3, "PACK": 4, "PAD": 4, "PADV2": 4, "QUANTIZE": 3, "RANGE": 2,
    "REDUCE_MAX": 3, "REDUCE_MIN": 3, "REDUCE_PROD": 2, "RELU": 3, "RELU6": 3, "RESIZE_BILINEAR": 4,
    "RESIZE_NEAREST_NEIGHBOR": 4, "REVERSE_V2": 3, "RNN": 3, "RSQRT": 2, "SELECT": 4, "SELECT_V2": 2, "SLICE": 6,
    "SOFTMAX": 3, "SPACE_TO_BATCH_ND": 4, "SPACE_TO_DEPTH": 2, "SPARSE_TO_DENSE": 3, "SPLIT": 4, "SPLIT_V": 2,
    "SQUARED_DIFFERENCE": 2, "SQUEEZE": 2, "STRIDED_SLICE": 8, "SUB": 5, "SUM": 2, "SVDF": 4, "TANH": 3, "TILE": 3,
    "TOPK_V2": 3, "TRANSPOSE": 6, "TRANSPOSE_CONV": 4, "UNIDIRECTIONAL_SEQUENCE_LSTM": 4,
    "UNIDIRECTIONAL_SEQUENCE_RNN": 3, "UNPACK": 4, "WHERE": 2,
}  # fmt: skip


def incompatibilities(descriptor: Descriptor, facts: DeviceFacts, *, deployment: str | None = None) -> tuple[str, ...]:
    """Why the artifact does not fit the device, or not this deployment of it, for people; empty = it fits."""
    return (
        *_platform(descriptor, facts),
        *_operators(descriptor, facts),
        *_memory(descriptor, facts),
        *_sensors(descriptor, facts, deployment),
    )


def lacking_operators(ops: Mapping[str, int]) -> tuple[str, ...]:
    """What of these tflite-runtime 2.14 lacks, for people; empty = nothing."""
    return tuple(
        f"operator {name} version {version}, tflite-runtime 2.14 has {_highest(_TFLITE_RUNTIME_2_14, name)}"
        for name, version in sorted(ops.items())
        if version > _highest(_TFLITE_RUNTIME_2_14, name)
    )


def disk_shortage(descriptor: Descriptor, facts: DeviceFacts, *, reserve_bytes: int) -> str | None:
    """Why the artifact does not fit the disk now, `reserve_bytes` of which stay free, for people; None = it fits."""
    needed = descriptor.size_bytes + reserve_bytes
    if needed <= facts.disk_free_bytes:
        return None
    return (
        f"{_mib(descriptor.size_bytes)} of model and {_mib(reserve_bytes)} of reserve do not fit, "
        f"{_mib(facts.disk_free_bytes)} are free; make room"
    )


def _platform(descriptor: Descriptor, facts: DeviceFacts) -> list[str]:
    reasons = []
    architectures = descriptor.manifest.requirements.architectures
    if facts.arch not in architectures:
        reasons.append(f"architecture {facts.arch}, the model holds on {', '.join(architectures)}")
    if facts.runtime not in _KNOWN_RUNTIMES:
        reasons.append(f"runtime {facts.runtime or 'missing'}, one of {', '.join(_KNOWN_RUNTIMES)} is needed")
    return reasons


def _operators(descriptor: Descriptor, facts: DeviceFacts) -> list[str]:
    if facts.runtime != "tflite-runtime":
        return []
    if not facts.runtime_version.startswith("2.14."):
        return [f"tflite-runtime {facts.runtime_version}, only 2.14 is supported"]
    return list(lacking_operators(descriptor.manifest.requirements.ops))


def _highest(versions: Mapping[str, int], name: str) -> int:
    """0 = the runtime cannot have it: an operator by number or a custom one."""
    return 0 if name.startswith(("BUILTIN_", "CUSTOM:")) else versions.get(name, 1)


def _memory(descriptor: Descriptor, facts: DeviceFacts) -> list[str]:
    memory = max(descriptor.memory_bytes, descriptor.manifest.budgets.memory_bytes)
    share = int(facts.memory_bytes * limits.MODEL_MEMORY_SHARE)
    if memory <= share:
        return []
    return [f"{_mib(memory)} of memory, a model may use {_mib(share)} of {_mib(facts.memory_bytes)} here"]


def _sensors(descriptor: Descriptor, facts: DeviceFacts, deployment: str | None) -> list[str]:
    """What the model reads and the source lacks; nothing where it is not known what the source offers."""
    offered = None if deployment is None else facts.sensors.get(deployment)
    if offered is None:
        return []
    missing = [name for name in descriptor.manifest.window.measured if name not in set(offered)]
    if not missing:
        return []
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return [f"the source of {deployment} lacks {', '.join(missing[:_NAMED])}{more}, which the model reads"]


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.1f} MiB"
