"""Devices: what they report and what they shall run."""

from pydantic import AwareDatetime

from edgeops.api.shapes.shape import Answer


class DeviceFacts(Answer):
    """What the device is and has, as it said last."""

    arch: str
    runtime: str
    runtime_version: str
    python: str
    memory_bytes: int
    disk_free_bytes: int
    agent_version: str = ""
    #: Name and version of the operating system.
    os: str = ""
    #: What its owner calls it by.
    labels: dict[str, str] = {}
    #: The model of the board or machine; empty = it does not say.
    board: str = ""


class DeploymentReport(Answer):
    """What one deployment really runs, as the device said last."""

    deployment: str
    #: An `UpdateState`.
    state: str
    #: Null is NO_MODEL.
    active: str | None = None
    previous: str | None = None
    candidate: str | None = None
    installation: str | None = None
    reason: str = "none"
    detail: str = ""
    #: The owner of the device lets no update of it begin, in words.
    hold: str = ""
    #: What this device had committed and does not run; `active` answers in its place.
    instead_of: str | None = None
    #: The agent died at each of its starts with it.
    fallen: bool = False


class DesiredDeployment(Answer):
    """What one deployment shall run."""

    deployment: str
    target: str | None = None
    digest: str | None = None
    installation: str | None = None
    intent: str


class Device(Answer):
    """One enrolled agent."""

    id: str
    name: str
    hardware: str
    labels: dict[str, str]
    enrolled_at: AwareDatetime
    presence: str
    quarantined: bool = False
    agent_version: str = ""
    last_seen_at: AwareDatetime | None = None
    reported_at: AwareDatetime | None = None
    facts: DeviceFacts | None = None
    deployments: tuple[DeploymentReport, ...] = ()
    counters: dict[str, int] = {}
    #: Why the device does not carry out what it shall run, as far as it does not.
    detail: str = ""
    desired: tuple[DesiredDeployment, ...] = ()
