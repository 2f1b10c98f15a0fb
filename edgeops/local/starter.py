"""Something that moves on a fresh site: every agent plays digits to the model that comes with the package."""

import io

import numpy as np

from edgeops.api.shapes import Rollout
from edgeops.local.playing import play
from edgeops.local.scenarios.scenario import Rows
from edgeops.local.up import Site

#: What the server calls the model; the agents call the deployment so, too.
NAME = "starter"
#: A fresh site shows something soon: its first model has no predecessor to be held against, so no canary goes ahead.
QUICK = {"bake": 0, "health": {"min_rows": 1}}
_VARIANT = "int8"
#: A trial of 20 inferences is to be a matter of a second.
_RATE_HZ = 20.0


def begin(site: Site) -> Rollout | None:
    """Let the agents play, and roll the starter model out; None when this site has seen it before, or has no agent.

    Returns at once: the rollout goes on by itself.
    """
    client = site.client
    if not site.agents or any(rollout.model == NAME for rollout in client.rollouts()):
        return None
    with np.load(io.BytesIO(client.dataset_rows(NAME))) as file:
        ids = tuple(str(one) for one in file["id"])
        rows = Rows(values=file["X"], ids=ids, labels=("",) * len(ids))
    play(site, rows, deployment=NAME, loop=True, rate_hz=_RATE_HZ, predictions="latest")
    return client.create_rollout(NAME, 1, variant=_VARIANT, deployment=NAME, to="all", waves=("100%",), policy=QUICK)
