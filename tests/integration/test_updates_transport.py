"""An update whose blocks cannot come says why, to the server and at the end."""

from edgeops import limits
from edgeops.protocol.messages import Reason, UpdateState
from tests.golden.tiny import tiny_artifact
from tests.integration.updates_rig import Device, Server


def test_below_a_brokers_packet_limit_an_update_fails_after_its_attempts_with_the_reason(tmp_path):
    server = Server(tmp_path)
    server.largest = 2_000
    descriptor = server.publish(tiny_artifact())
    device = Device(tmp_path, server)
    try:
        device.desire(descriptor, revision=1)
        for _ in range(limits.FETCH_ATTEMPTS):
            device.settle()
        (report,) = [report for report in device.reports() if report.state is UpdateState.FAILED]
    finally:
        device.close()
    assert report.reason is Reason.FETCH
    assert "the broker takes messages of at most 2000 bytes" in report.detail
    assert not server.sent_blocks
