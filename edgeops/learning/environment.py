"""Where a training ran: everything beside its rows and options that may change a bit of what comes out.

A value only; a shell looks around and fills it in.
"""

import msgspec


class Environment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is empty was not known."""

    #: Of Python.
    python: str = ""
    #: The operating system, its C library included.
    platform: str = ""
    #: As `uname -m` calls it.
    architecture: str = ""
    processor: str = ""
    #: Instruction sets by which kernels are chosen.
    instructions: tuple[str, ...] = ()
    #: What TensorFlow adds up in.
    threads: int = 0
    #: Version by name.
    libraries: dict[str, str] = {}
    host: str = ""
    #: Of the checkout that the code ran from.
    commit: str = ""
    #: Digest of what was not committed there; None = all was.
    difference: str | None = None
