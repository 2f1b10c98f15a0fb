"""Looks around where trainings run: interpreter, machine, libraries, code.

The process that keeps the books asks; its worker is started by the same interpreter, on the same machine.
"""

import platform
from pathlib import Path

from edgeops.learning.environment import Environment
from fleet_server.checkout import look_at_checkout
from fleet_server.ml.framework import THREADS, library_versions

#: Sets of instructions by which TensorFlow, XNNPACK and numpy choose kernels, as Linux calls them on x86-64 and arm.
_CHOOSING = frozenset(
    {
        *("sse4_1", "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl"),
        *("avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"),
        *("neon", "asimd", "asimdhp", "asimddp", "asimdfhm", "fphp", "i8mm", "bf16", "sve", "sve2"),
    }
)
_CPUINFO = Path("/proc/cpuinfo")


def look_around() -> Environment:
    """Where a training that begins now runs."""
    code, facts = look_at_checkout(), _cpu_facts()
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        architecture=platform.machine(),
        processor=_processor(facts),
        instructions=instruction_sets(facts),
        threads=THREADS,
        libraries=library_versions(),
        host=platform.node(),
        commit=code.commit,
        difference=code.difference,
    )


def instruction_sets(facts: dict[str, str]) -> tuple[str, ...]:
    """Those that decide about kernels, of what `/proc/cpuinfo` tells of the first processor."""
    told = facts.get("flags") or facts.get("Features") or ""
    return tuple(sorted(_CHOOSING & set(told.split())))


def _processor(facts: dict[str, str]) -> str:
    # A Raspberry Pi tells no name of its processor, but a part number.
    return facts.get("model name") or facts.get("CPU part") or ""


def _cpu_facts() -> dict[str, str]:
    """What Linux tells of the first processor, by name."""
    try:
        first = _CPUINFO.read_text().split("\n\n", 1)[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
