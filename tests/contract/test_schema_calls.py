"""The API against its own OpenAPI document: calls that a machine makes up, most of them about things that exist."""

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig

from tests.contract.schema_caller import CONFIG, Caller
from tests.contract.seeds import CHAINS, SeededRig

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]

LEAST_CALLS = 5_000
LEAST_GOOD = 0.3
#: Of an operation and a kind of calls, so many failures are told.
TOLD = 3


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    rig = SeededRig(tmp_path_factory.mktemp("schema"))
    yield rig
    rig.close()


@pytest.fixture
def caller(rig):
    caller = Caller(rig)
    yield caller
    caller.close()


def test_no_call_that_the_document_allows_or_forbids_breaks_it(rig, caller):
    document = rig.http.get("/api/v1/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document, config=SchemathesisConfig.from_dict(CONFIG))
    schema.config.update(base_url=rig.url)
    operations = {(one.ok().method.upper(), one.ok().path): one.ok() for one in schema.get_all_operations()}
    for key, operation in operations.items():
        caller.play(key, operation)
    for chain in CHAINS:
        caller.chain(operations, chain(rig))
    told = _table(caller)
    assert not caller.failures, told
    assert {key: share for key, share in caller.shares().items() if share < LEAST_GOOD} == {}
    assert caller.calls.keys() == operations.keys()
    assert caller.calls.total() >= LEAST_CALLS


def _table(caller):
    """Calls and their good share by operation, and what failed; also printed."""
    shares = caller.shares()
    lines = [
        f"{method:6} {path:75} {caller.calls[method, path]:5} calls, {share:4.0%} good"
        for (method, path), share in shares.items()
    ]
    for key, failures in caller.failures.items():
        lines += [f"FAILED {' '.join(key)}: {len(failures)}", *failures[:TOLD]]
    least = min(shares, key=shares.get)
    good = caller.good.total() / caller.calls.total()
    lines.append(
        f"{caller.calls.total()} calls of {len(shares)} operations, {len(caller.failures)} with failures; "
        f"{good:.0%} ended in 2xx, {shares[least]:.0%} of {' '.join(least)}"
    )
    print("\n".join(lines))
    return "\n".join(lines[-40:])
