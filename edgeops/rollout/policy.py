"""What one rollout demands of its devices before it goes on; stored with it, and never changed afterwards."""

from datetime import timedelta

import msgspec
from msgspec.structs import replace

from edgeops import limits
from edgeops.protocol.messages import Maintenance
from edgeops.rollout.blessing import Demand


class HealthPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the health gate asks of a wave that bakes: limits of what the new model may be worse by than the old one.

    A model well within a limit passes, one well beyond it is stopped; what is well is in `edgeops.rollout.health.zone`.
    """

    #: Inputs that the new model answered, and that both did where pairs are owed, before anything passes.
    min_rows: int = limits.HEALTH_ROWS
    #: Loss of accuracy, as a share of all inputs; judged on labelled disagreements.
    max_loss: float = 0.025
    #: Disagreements that are sent for labelling at most; 0 = nobody labels, and that both models disagree no more than
    #: their stated accuracies allow is proof enough.
    labels: int = limits.HEALTH_LABELS
    #: Rise of the share of inputs that end in an error.
    max_error_rise: float = 0.01
    #: 95th percentile of the inference time, new by old; a rise by less than the second is not looked at.
    max_latency_ratio: float = 1.25
    min_latency_rise_ms: float = 1.0
    #: Peak memory of the agent's model, new by old.
    max_memory_ratio: float = 1.5
    #: How often, at most, looking again and again stops a model that is well within its limits in one wave, and passes
    #: one that is well beyond one of them.
    alpha: float = 0.05


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one rollout demands."""

    #: Real inferences without error that a candidate must answer on each device.
    trial_inferences: int = limits.TRIAL_INFERENCES
    #: How long a wave shows itself after its last device committed; evidence may take longer, never less.
    bake: timedelta = limits.BAKE
    #: Waited for evidence so long after the bake; then a person decides.
    evidence_timeout: timedelta = limits.EVIDENCE_TIMEOUT
    #: Of the devices that were offered the model, how many must commit, and how many may fail. A timeout is a failure,
    #: unless the device was never online in its wave; an inconclusive end is neither.
    min_success: float = 0.95
    max_failure: float = 0.05
    #: Devices that must have ended before a share of them is a judgement.
    min_devices: int = 1
    #: A device that was asked must end within this, and must be heard to make progress within the second.
    offer_timeout: timedelta = limits.OFFER_TIMEOUT
    progress_timeout: timedelta = limits.PROGRESS_TIMEOUT
    #: A wave in which nobody could be asked is given up after this.
    wave_timeout: timedelta = limits.WAVE_TIMEOUT
    #: Devices that are at it at the same time, and offers per minute; None = no limit.
    max_in_flight: int | None = None
    rate_per_minute: int | None = None
    #: Times that a device is asked again after a transient end (fetch, disk, timeout, inconclusive), and the pause.
    retries: int = 1
    retry_after: timedelta = limits.INSTALLATION_RETRY_AFTER
    #: When devices may turn to the model; empty = at any time.
    maintenance: tuple[Maintenance, ...] = ()
    #: Whether a device of each class among those that it means must have tried the model before the first wave.
    require_blessing: Demand = Demand.NONE
    #: Waited for all of that so long.
    blessing_timeout: timedelta = limits.BLESSING_TIMEOUT
    #: Of the inputs, those that the incumbent answers too, and of one processor core, what that may take.
    shadow_share: float = limits.SHADOW_SHARE
    shadow_cpu: float = limits.SHADOW_CPU
    #: Of the devices, those held back as control until the last bake ends.
    control_share: float = 0.05
    #: A wave that fails takes the model back from every device that has it.
    roll_back_on_failure: bool = True
    health: HealthPolicy = HealthPolicy()


def of_undo(policy: Policy) -> Policy:
    """What a rollout demands that undoes another one of this policy: as much proof, and none by what it replaces.

    That is known to be wrong, so it is no witness: it answers beside nothing and is loaded nowhere, nobody is held back
    with it, nothing that it did better or faster stops the model that was proven before it, and no wave that fails
    brings it back. Nor does it run on until a maintenance window opens or a device has tried what ran before; how many
    devices turn at a time stays.
    """
    health = replace(policy.health, labels=0, max_error_rise=0.5, max_latency_ratio=1_000.0, max_memory_ratio=1_000.0)
    return replace(
        policy,
        maintenance=(),
        require_blessing=Demand.NONE,
        shadow_share=0.0,
        control_share=0.0,
        roll_back_on_failure=False,
        health=health,
    )
