"""What people type and what clients send: arguments, request bodies, cursors, selectors, fail points."""

import argparse

import typer

from device_agent.cli import _address, _names, _rate
from edgeops.api import shapes
from edgeops.artifact.manifest import auto_model
from edgeops.cli.options import parse_moment, parse_span
from edgeops.cli.reference import parse_model_version
from edgeops.data.conditions import parse_conditions
from edgeops.digest import digest_hex
from edgeops.errors import InputError, MessageError
from edgeops.rollout.waves import parse_waves
from edgeops.update.faults import parse as parse_fail_point
from fleet_server.api.pages import Moment, Ordinal, Paging
from fleet_server.api.problems import FieldError
from tests.fuzz.parser import Parser, through_text

_SAID = (typer.BadParameter, argparse.ArgumentTypeError)
_CURSORS = (Ordinal, str, tuple[Moment, str], tuple[Ordinal, str])


def _argument(name, read, *seeds, errors=_SAID):
    return Parser(
        name=name,
        read=through_text(read),
        errors=errors,
        seeds=lambda: [seed.encode() for seed in seeds],
        most_bytes=200,
    )


def _request(kind, example):
    return Parser(
        name=f"request-{kind.__name__.removesuffix('Request').lower()}",
        read=lambda data: shapes.read(data, kind),
        errors=(MessageError,),
        write=lambda value: value.model_dump_json().encode(),
        seeds=lambda: [example, b"[" * 70_000],
    )


def _cursor(data):
    if not data:
        return None
    path = Paging("/api/v1/devices", data[1:].decode("utf-8", "replace"), 10)
    return path.after(_CURSORS[data[0] % len(_CURSORS)])


def _cursors():
    for place, key in enumerate((5, "camera-1")):
        text = Paging("/api/v1/devices", None, 1)._cursor(key)
        yield bytes([place]) + text.encode()


_REQUESTS = {
    shapes.TokenRequest: b'{"name":"ci","role":"operator"}',
    shapes.EnrolmentTokensRequest: b'{"count":3}',
    shapes.EnrolRequest: b'{"token":"t","name":"cam","public_key":"%s","hardware":"h"}' % (b"5a" * 32),
    shapes.DatasetRequest: b'{"name":"digits","label":"y","features":"a,b","where":["batch=1"],"hold_out":0.2}',
    shapes.RunRequest: b'{"dataset":"digits","model":"digits","recipe":"dense","seed":7,"options":{"epochs":3}}',
    shapes.AliasRequest: b'{"version":1}',
    shapes.PublishRequest: b'{"variant":"int8"}',
    shapes.WithdrawRequest: b'{"variant":null}',
    shapes.LabelsRequest: b'{"labels":[{"sample_id":"sample-1","label":"red","remark":""}]}',
    shapes.FeedbackRequest: b'{"device_id":"camera-1","deployment":"digits","input_id":"1","label":"red"}',
    shapes.RetrainingPolicyRequest: b'{"mode":"auto","labels":30,"cooldown":"P1D"}',
    shapes.RetrainingRequest: b'{"labels":30,"random_share":0.2,"without_devices":["camera-1"]}',
    shapes.GroupRequest: b'{"selector":"label.site=north"}',
    shapes.PinRequest: b'{"deployment":"digits","digest":"sha256:%s","until":"2027-01-01T00:00:00Z"}' % (b"5a" * 32),
    shapes.DeviceLabelsRequest: b'{"set":{"site":"north"},"remove":["spare"]}',
    shapes.WebhookRequest: b'{"url":"https://hooks.example/edgeops","kinds":["rollout."]}',
    shapes.CloseRequest: b'{"remark":"seen"}',
    shapes.RolloutAbort: b'{"remark":"too slow","roll_back":true}',
    shapes.RolloutUndo: b'{"remark":"","to":"rollout-1","waves":["100%"]}',
    shapes.RolloutPreviewRequest: b'{"model":"digits","version":1,"deployment":"digits","to":"group=a",'
    b'"groups":{"a":{"selector":"all"},"b":{"device_ids":["camera-1"]}}}',
    shapes.RolloutRequest: b'{"model":"digits","version":1,"deployment":"digits","to":"all","waves":["1","100%"]}',
}

PARSERS = (
    _argument(
        "argument-moment",
        parse_moment,
        "2026-11-23T12:00:00Z",
        "0001-01-01T00:00:00+10:00",
        "9999-12-31T23:59:59-10:00",
    ),
    _argument("argument-span", parse_span, "90s", "1e300d", "nan", "7d"),
    _argument("argument-model", parse_model_version, "digits@1", "digits@v999999999"),
    _argument("argument-address", _address, "127.0.0.1:8470", "[::1]:80", "h:" + "9" * 5000, "h:\u0663"),
    _argument("argument-columns", _names, "a,b", '"a,b"', "a\nb", "a\rb"),
    _argument("argument-rate", _rate, "100", "max", "nan", "inf"),
    _argument("waves", lambda text: parse_waves(text.split(",")), "1,50%,100%", "\u0661", errors=(InputError,)),
    _argument("filters", lambda text: parse_conditions(tuple(text.split())), "batch=1,2", "=", errors=(InputError,)),
    _argument(
        "fail-point", parse_fail_point, "saved-trial:2:kill", "did-fetch:" + "9" * 5000, "did-fetch:\u00b2", errors=()
    ),
    _argument("digest", digest_hex, "sha256:" + "5a" * 32, errors=(MessageError,)),
    _argument("auto-target", auto_model, "models/digits/auto/2-int8.json", errors=()),
    Parser(name="cursor", read=_cursor, errors=(FieldError,), seeds=lambda: list(_cursors()), most_bytes=1000),
    *(_request(kind, example) for kind, example in _REQUESTS.items()),
)
