"""How every trial of an artifact in a child process begins: it is loaded, and must answer its golden vectors.

What is measured of it then, and what follows, is decided by who tries it.
"""

from dataclasses import dataclass
from pathlib import Path

from edgeops import limits
from edgeops.errors import InputError, PlatformError
from edgeops.model.golden import check_golden
from edgeops.model.model import Model
from edgeops.protocol.messages import Reason


@dataclass(frozen=True, slots=True)
class Unfit:
    """It cannot be loaded here, or answers otherwise than it must."""

    reason: Reason
    #: For people; short enough to be reported.
    detail: str


def load_tried(artifact: Path) -> tuple[Model, str] | Unfit:
    """The model, and in words how well it answers."""
    try:
        model = Model.load(artifact)
        golden = check_golden(model, model.golden)
    except InputError as error:
        return Unfit(Reason.GOLDEN, str(error)[: limits.MAX_DETAIL_LENGTH])
    except PlatformError as error:
        return Unfit(Reason.INCOMPATIBLE, str(error)[: limits.MAX_DETAIL_LENGTH])
    return (model, golden.detail) if golden.ok else Unfit(Reason.GOLDEN, golden.detail[: limits.MAX_DETAIL_LENGTH])
