"""What a broker's log tells of attempts, and what of it is kept."""

import pytest

from edgeops import limits
from fleet_server.broker_log import Attempt, LogFilter, Refused, refusals

AT = "2026-11-26T18:21:13+0000: "


def kept(*lines, now_s=0.0):
    data = "".join(f"{AT}{line}\n" for line in lines).encode()
    return LogFilter("edgeops-server").take(data, now_s=now_s).decode().splitlines()


def test_packets_are_passed_over_and_what_was_denied_is_not():
    assert kept(
        "Received PUBLISH from cam-1 (d0, q1, r0, m1, 'edgeops/v1/up/cam-1/status', ... (9 bytes))",
        "Sending PUBACK to cam-1 (m1, rc0)",
        "No will message specified.",
        "\tedgeops/v1/down/cam-1/+ (QoS 1)",
        "Denied PUBLISH from cam-1 (d0, q1, r1, m2, 'edgeops/v1/up/cam-2/status', ... (1 bytes))",
        "Client cam-1 disconnected due to oversize packet.",
    ) == [
        f"{AT}Denied PUBLISH from cam-1 (d0, q1, r1, m2, 'edgeops/v1/up/cam-2/status', ... (1 bytes))",
        f"{AT}Client cam-1 disconnected due to oversize packet.",
    ]


@pytest.mark.parametrize(
    ("client", "topic_filter", "own"),
    [
        ("cam-1", "edgeops/v1/down/cam-1/+", True),
        ("cam-1", "edgeops/v1/blob/ab/0", True),
        ("edgeops-server", "edgeops/v1/up/+/+", True),
        ("cam-1", "#", False),
        ("cam-1", "edgeops/v1/down/cam-10/ack", False),
        ("cam-1", "$share/g/edgeops/v1/down/cam-1/+", False),
        ("cam-1", "a b 1 c", False),
    ],
)
def test_a_subscription_is_denied_when_it_could_match_what_is_anothers(client, topic_filter, own):
    assert kept(f"{client} 1 {topic_filter}") == (
        [] if own else [f"{AT}Denied SUBSCRIBE from {client} ('{topic_filter}')"]
    )


def test_a_line_that_ends_inside_a_character_is_judged_like_any_other():
    # mosquitto 2.0 writes 999 bytes of a line; one subscription must not end the broker's own process.
    line = f"{AT}cam-1 1 edgeops/v1/down/cam-2/".encode() + b"\xc3"
    assert LogFilter("edgeops-server").take(line + b"\n", now_s=0.0) == (
        f"{AT}Denied SUBSCRIBE from cam-1 ('edgeops/v1/down/cam-2/".encode() + b"\xc3')\n"
    )


def test_lines_may_come_in_pieces():
    log = LogFilter("edgeops-server")
    line = f"{AT}Client cam-1 disconnected due to protocol error.\n".encode()
    assert b"".join(log.take(line[place : place + 1], now_s=0.0) for place in range(len(line))) == line


def test_of_one_client_only_so_many_lines_a_second_are_kept():
    log = LogFilter("edgeops-server")
    loud = f"{AT}Denied PUBLISH from cam-1 (d0, q1, r1, m2, 'x', ... (1 bytes))\n".encode()
    other = f"{AT}Denied PUBLISH from cam-2 (d0, q1, r1, m2, 'x', ... (1 bytes))\n".encode()
    assert log.take(loud * 1_000 + other, now_s=0.0) == loud * limits.BROKER_LOG_LINES_PER_S + other
    assert log.take(loud, now_s=1.0) == loud


def test_an_attempt_names_client_and_topic():
    lines = [
        "Denied PUBLISH from cam-1 (d0, q1, r1, m2, 'edgeops/v1/up/cam-2/status', ... (1 bytes))",
        "Denied SUBSCRIBE from cam-1 ('#')",
        "Client cam-1 disconnected due to oversize packet.",
        "Client cam-1 disconnected due to malformed packet.",
        "Client <unknown> disconnected, not authorised.",
        "Client cam-1 already connected, closing old connection.",
        "New connection from 127.0.0.1:1 on port 2.",
    ]
    assert list(refusals("\n".join(AT + line for line in lines))) == [
        Refused("cam-1", Attempt.FOREIGN_TOPIC, "to write edgeops/v1/up/cam-2/status"),
        Refused("cam-1", Attempt.FOREIGN_TOPIC, "to hear #"),
        Refused("cam-1", Attempt.OVERSIZE, "a packet of more bytes than the broker takes"),
        Refused("cam-1", Attempt.PROTOCOL, "malformed packet"),
        Refused("<unknown>", Attempt.NOT_AUTHORISED, "<unknown>: no account, or cut off"),
    ]
