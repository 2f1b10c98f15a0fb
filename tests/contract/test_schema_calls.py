"""The API against its own OpenAPI document: calls that a machine makes up, most of them on things that exist."""

import os
from collections import Counter, defaultdict
from contextlib import suppress

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.config import SchemathesisConfig

from edgeops.api.roles import Role
from tests.contract.seeds import SeededRig

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]

LEAST_CALLS = 5_000
LEAST_GOOD = 0.3
CALLS = int(os.environ.get("EDGEOPS_SCHEMA_CALLS", "84"))
#: Without end, and with a pass of a device instead of a token: they have tests of their own.
#: Has an answer only where there is TLS.
SELDOM_GOOD = {("POST", "/api/v1/authorities/switch")}
LEFT_OUT = {("GET", "/api/v1/events/stream"), ("GET", "/blobs/{name}")}
#: A value of the right shape may still be one that cannot be used, too much, or no longer the present one.
CONFIG = {
    # The API ignores parameters that it does not know.
    "generation": {"allow-extra-parameters": False},
    "checks": {
        "positive_data_acceptance": {"expected-statuses": ["2xx", "401", "403", "404", "409", "412", "413", "422"]}
    },
}


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    rig = SeededRig(tmp_path_factory.mktemp("schema"))
    yield rig
    rig.close()


class Caller:
    """Makes calls and counts what came of them."""

    def __init__(self, rig):
        self._rig = rig
        self._headers = {"Authorization": f"Bearer {rig.tokens[Role.ADMIN]}"}
        self._checks = CHECKS.get_all()
        self._rejections = [one for one in self._checks if one.__name__ == "negative_data_rejection"]
        self.calls, self.good, self.failures = Counter(), Counter(), defaultdict(list)

    def call(self, key, case, *, grown):
        """Once; `grown` = about something that exists."""
        if grown:
            self._sow(case, self._rig.seed(*key))
        answer = case.call(headers=self._headers)
        self.calls[key] += 1
        self.good[key] += answer.status_code < 300
        # What was drawn to be wrong and then replaced by a seed is right.
        left_out = self._rejections if grown else []
        try:
            case.validate_response(answer, checks=self._checks, excluded_checks=left_out, headers=self._headers)
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - each is told in the end
            said = case.as_curl_command()
            self.failures[key] += [f"{said}: {str(one)[:900]}" for one in getattr(error, "exceptions", [error])]

    def play(self, key, cases, *, count, grown):
        """So many calls that a strategy makes."""

        @seed(5)
        @settings(
            max_examples=count, deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=cases, chosen=grown)
        def calls(case, chosen):
            self.call(key, case, grown=chosen)

        calls()

    @staticmethod
    def _sow(case, seeds):
        case.path_parameters = {**(case.path_parameters or {}), **seeds.get("path", {})}
        for place in ("query", "headers", "body"):
            if place in seeds:
                setattr(case, place, seeds[place])


def test_no_call_that_the_document_allows_or_forbids_breaks_it(rig):
    config = SchemathesisConfig.from_dict(CONFIG)
    schema = schemathesis.openapi.from_url(f"{rig.url}/api/v1/openapi.json", config=config)
    caller = Caller(rig)
    for result in schema.get_all_operations():
        operation = result.ok()
        key = (operation.method.upper(), operation.path)
        if key in LEFT_OUT:
            continue
        allowed = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
        caller.play(key, allowed, count=CALLS, grown=st.integers(0, 4).map(bool))
        # What takes any text, or nothing at all, leaves nothing to be wrong.
        with suppress(Unsatisfiable):
            forbidden = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
            caller.play(key, forbidden, count=max(CALLS // 8, 2), grown=st.just(False))
    shares = {key: caller.good[key] / caller.calls[key] for key in caller.calls}
    print(
        caller.calls.total(), "calls, least good:", sorted((round(share, 2), *key) for key, share in shares.items())[:9]
    )
    for key, each in caller.failures.items():
        print(*key, len(each), each[0])
    assert not caller.failures, sorted(caller.failures)
    assert {key: share for key, share in shares.items() if share < LEAST_GOOD and key not in SELDOM_GOOD} == {}
    assert caller.calls.total() >= LEAST_CALLS
