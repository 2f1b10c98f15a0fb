"""How many disagreements a wave asks for, and of whom, so that those that get a label are drawn by chance among all.

Each disagreement has the same chance, whichever device it happened on: only so do a few labels tell of all of them
(`edgeops.rollout.health.answers`). Which of its own a device names is drawn by chance on the device.
"""

from collections.abc import Mapping

import numpy as np

from edgeops import limits


def wanted_labels(*, policy: int, seen: int, sent: int) -> int:
    """Disagreements that are asked for now, where so many were seen and sent already."""
    return max(min(policy, seen) - sent, 0)


def asked_of(differing: Mapping[str, int], wanted: int, random: np.random.Generator) -> dict[str, int]:
    """How many each device is asked for; by device id, nobody for none.

    Args:
        differing: disagreements by device.
        wanted: in all.
        random: draws.
    """
    devices = sorted(device for device, count in differing.items() if count > 0)
    if not devices or wanted <= 0:
        return {}
    weights = np.array([differing[device] for device in devices], dtype=np.float64)
    drawn = random.multinomial(wanted, weights / weights.sum())
    return {
        device: min(int(count), limits.MAX_NOMINEES) for device, count in zip(devices, drawn, strict=True) if count > 0
    }
