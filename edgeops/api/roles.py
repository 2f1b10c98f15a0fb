"""What a token may do: one word, for whoever must not load the shapes of the API to know it."""

from enum import StrEnum


class Role(StrEnum):
    """What a token may do; each role may also do what the ones before it may."""

    #: Read everything except secrets.
    VIEWER = "viewer"
    #: Change datasets, models and rollouts, enrol devices, release them from quarantine.
    OPERATOR = "operator"
    #: Make and revoke tokens, remove devices.
    ADMIN = "admin"
