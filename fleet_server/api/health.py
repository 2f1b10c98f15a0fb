"""Whether the API answers; open."""

from fastapi import APIRouter

import edgeops
from edgeops.api.shapes import Health

router = APIRouter(tags=["server"])


@router.get("/health")
def read_health() -> Health:
    """That the API answers, and its version."""
    return Health(version=edgeops.__version__)
