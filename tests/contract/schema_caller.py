"""Calls that a machine makes up from the API's OpenAPI document, checked, and what came of them counted.

Four kinds, each with every check that schemathesis has:

- `good`: drawn, with the ids of `seeds` and, where they matter, its values; each must be answered with a 2xx.
- `free`: whatever the document allows, values at the borders included. It may name what is not there (404), not suit the
  present state (409), demand an edition that never was (412), or be a value that only the server can judge (422, which
  then names the field): a document says what a value looks like, not what exists or goes together.
- `wrong`: one place is not as the document says, everything else is good. Each must be refused.
- `chain`: something is made, read, taken away and looked for again.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress

import requests
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from requests.structures import CaseInsensitiveDict
from schemathesis import GenerationMode
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.transport import Response
from schemathesis.engine.recorder import ScenarioRecorder
from schemathesis.specs.openapi.checks import ignored_auth

from edgeops.api.roles import Role

#: Good calls of an operation: at least so many, and so many for each other call.
GOOD, GOOD_PER_OTHER = 20, 0.5
#: A hundred slow hashes are some calls' worth; a stream without news is left.
_PATIENCE_S, _SILENCE_S = 120, 5
_STREAM = ("GET", "/api/v1/events/stream")
#: Calls that a strategy draws, beside those at the borders of each value.
FREE, WRONG = 4, 4
#: What a `free` call may end in; of a `good` one the caller sees to it.
_FREE = ["2xx", "404", "409", "412", "422"]
CONFIG = {
    "max-stream-events": 1,
    "checks": {
        "positive_data_acceptance": {"expected-statuses": _FREE},
        # A path that is not as the document says leads nowhere; everything else is a value that cannot be used.
        "negative_data_rejection": {"expected-statuses": ["401", "404", "422"]},
    },
    # Who asks is said by a pass or a one-time token, and a document cannot say which are good.
    "operations": [
        {"include-path": path, "checks": {"positive_data_acceptance": {"expected-statuses": [*_FREE, *more]}}}
        for path, more in (("/blobs/{name}", ["401", "416"]), ("/api/v1/enrol", ["403"]))
    ],
}
PLACES = {
    "path": ("path_parameters", ParameterLocation.PATH),
    "query": ("query", ParameterLocation.QUERY),
    "headers": ("headers", ParameterLocation.HEADER),
    "body": ("body", ParameterLocation.BODY),
}


class Caller:
    """Makes calls and counts what came of them."""

    def __init__(self, rig):
        self._rig = rig
        self._session = requests.Session()
        self._headers = {"Authorization": f"Bearer {rig.tokens[Role.ADMIN]}"}
        self._shown = Counter()
        self.calls, self.good, self.failures = Counter(), Counter(), defaultdict(list)

    def shares(self):
        """How much of the calls of each operation ended in 2xx."""
        return {key: self.good[key] / count for key, count in self.calls.items()}

    def close(self):
        self._session.close()

    def call(self, key, case, *, kind, recorder=None):
        headers = {} if _brings_its_own(case) else self._headers
        for name, value in headers.items():
            case.headers[name] = value
        if key == _STREAM and kind != "wrong":
            headers = {**headers, "Last-Event-ID": "0"}
        options = {"session": self._session, "timeout": _SILENCE_S if key == _STREAM else _PATIENCE_S}
        answer = Response.from_any(case.call(headers=headers, **options))
        is_good = 200 <= answer.status_code < 300
        self.calls[key] += 1
        self.good[key] += is_good
        if recorder is not None:
            recorder.record_response(case_id=case.id, response=answer)
        # It asks twice more for each good answer, without a token and with a wrong one: once is enough.
        left_out = [ignored_auth] if not is_good or self._shown[key] else []
        self._shown[key] += is_good
        said = []
        try:
            case.validate_response(
                answer, excluded_checks=left_out, headers=headers, recorder=recorder,
                transport_kwargs=options,
            )  # fmt: skip
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - each is told in the end
            said = [str(one) for one in getattr(error, "exceptions", [error])]
        if kind == "good" and not is_good:
            said.append(f"a good call ended in {answer.status_code}: {answer.text[:400]}")
        if answer.status_code == 422 and not answer.json().get("errors"):
            said.append(f"a 422 that names no field: {answer.text[:400]}")
        if said:
            self.failures[kind, *key] += [f"{case.as_curl_command()}: {one[:1200]}" for one in said]
        return answer

    def play(self, key, operation):
        """All calls of one operation but those of chains."""
        mended = self._rig.seed(*key)
        others = 0
        for mode, kind in ((GenerationMode.NEGATIVE, "wrong"), (GenerationMode.POSITIVE, "free")):
            for case in _at_borders(operation, mode):
                # What is refused uses nothing up.
                seeds = mended if kind == "wrong" else self._kept(key)
                self._sow(case, seeds, places=_right_places(case))
                self.call(key, case, kind=kind)
                others += 1
        # What takes any text, or nothing at all, leaves nothing to be wrong.
        with suppress(Unsatisfiable):
            others += self._draw(key, operation, GenerationMode.NEGATIVE, count=WRONG, kind="wrong", seeds=mended)
        others += self._draw(key, operation, GenerationMode.POSITIVE, count=FREE, kind="free")
        count = max(GOOD, math.ceil(GOOD_PER_OTHER * others))
        self._draw(key, operation, GenerationMode.POSITIVE, count=count, kind="good")

    def _kept(self, key):
        """What `free` calls have of the seeds: the thing that they are about; of the stream, that it has news."""
        seeds = self._rig.seed(*key)
        return seeds if key == _STREAM else {"path": seeds.get("path", {})}

    def _draw(self, key, operation, mode, *, count, kind, seeds=None):
        before = self.calls[key]

        @seed(5)
        @settings(
            max_examples=count, deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode))
        def calls(case):
            if kind == "good":
                self._cultivate(case, self._rig.seed(*key))
            elif kind == "wrong":
                self._sow(case, seeds, places=_right_places(case))
            elif key == _STREAM:
                self._sow(case, self._kept(key), places=PLACES)
            self.call(key, case, kind=kind)

        calls()
        # There are fewer different cases than asked for where an operation takes little.
        while kind == "good" and self.calls[key] - before < count:
            case = operation.Case()
            self._cultivate(case, self._rig.seed(*key))
            self.call(key, case, kind=kind)
        return self.calls[key] - before

    def chain(self, operations, steps):
        """Calls about the same thing: `steps` yields operations with what they take, and is sent each answer."""
        recorder, before, answer = ScenarioRecorder(label="chain"), None, None
        with suppress(StopIteration):
            while True:
                key, seeds = steps.send(answer)
                case = operations[key].Case()
                self._sow(case, seeds, places=PLACES)
                recorder.record_case(case=case, parent_id=before)
                answer = self.call(key, case, kind="chain", recorder=recorder)
                before = case.id

    def _cultivate(self, case, seeds):
        """Have a drawn call be about what exists; harmless values stay as they were drawn."""
        drawn = case.body if isinstance(case.body, dict) else {}
        for place in ("query", "headers"):
            name, _ = PLACES[place]
            values = {
                one: self._rig.named[one]() if one in self._rig.named else value
                for one, value in (getattr(case, name) or {}).items()
            }
            self._put(case, place, {one: value for one, value in values.items() if value is not None})
        self._sow(case, seeds, places=PLACES)
        if isinstance(seeds.get("body"), dict):
            case.body = {one: drawn[one] for one in self._rig.harmless if one in drawn} | seeds["body"]

    def _sow(self, case, seeds, *, places):
        for place in places:
            if place in seeds:
                self._put(case, place, seeds[place])
        if "body" in seeds and case.media_type is None:
            case.media_type = next(iter(case.operation.body)).media_type

    @staticmethod
    def _put(case, place, value):
        name, _ = PLACES[place]
        setattr(case, name, CaseInsensitiveDict(value) if place == "headers" else value)


def _at_borders(operation, mode) -> Iterator:
    """Cases at the borders of every value, and requests that lack something or have it twice."""
    schema = operation.schema
    yield from schema.iter_coverage_cases(
        operation, generation_modes=[mode], generation_config=schema.config.generation
    )


def _right_places(case):
    """Where a case is not wrong on purpose."""
    return [place for place, (_, location) in PLACES.items() if not case.meta.is_negative_at(location)]


def _brings_its_own(case):
    """Whether a call is about who asks: its token is missing or wrong, or it has the pass of a device."""
    if any(one.name == "authorization" for one in case.operation.headers):
        return True
    data = case.meta.phase.data if case.meta else None
    if data is None or not case.meta.is_negative_at(ParameterLocation.HEADER):
        return False
    return "Authorization" in {data.parameter, *(one.parameter for one in data.mutations)}
