"""What every rig with a real broker needs: the binary, and patience with an end."""

import os
import shutil
import time

import pytest


def ask_until(question, *, what, seconds):
    """Ask until the answer is true, for `seconds` at most; the answer is returned."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := question():
            return answer
        time.sleep(0.02)
    pytest.fail(f"not within {seconds:.0f} s: {what}")
    return None


def answers_change_twice(site):
    """Wait until each device's latest answer has changed twice; how soon is what `bench/start.py` measures."""
    seen = {agent.device_id: set() for agent in site.agents}

    def have_changed_twice():
        for device, answers in seen.items():
            latest = site.client.latest_predictions(device)
            answers.update(f"{one.input_id} {one.answered_at}" for one in latest)
        return all(len(answers) >= 3 for answers in seen.values())

    ask_until(have_changed_twice, what="three answers of every device", seconds=60)


def mosquitto():
    path = os.environ.get("EDGEOPS_MOSQUITTO") or shutil.which("mosquitto")
    if path is None:
        pytest.fail("mosquitto is missing: put it on PATH or name it in EDGEOPS_MOSQUITTO")
    return path
