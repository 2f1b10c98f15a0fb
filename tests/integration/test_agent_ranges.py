"""An agent reads from the server that it was told of, with a pass that its own key signed."""

from device_agent.agent import Agent
from edgeops import limits
from edgeops.artifact.blockplan import block_list
from edgeops.protocol.keys import SigningKey
from edgeops.protocol.passes import open_pass, read_pass
from tests.integration.fetch_rig import described
from tests.integration.test_fetch_ranges import answered, web
from tests.unit.lone_agent import DEVICE, end, enrolled

DATA = bytes(range(256)) * (limits.RANGES_ABOVE_BYTES // 256 + 1)


class Meta:
    """Knows the block list."""

    def file(self, *_arguments, **_options):
        return block_list(DATA, limits.BLOCK_BYTES)


def test_an_agent_reads_ranges_where_it_was_told_and_shows_a_pass_of_its_key(tmp_path):
    key = SigningKey.generate()
    state = enrolled(tmp_path / "state", key)
    descriptor = described(DATA)
    with web(lambda handler, first, last: answered(handler, first, DATA[first : last + 1], size=len(DATA))) as server:
        agent = Agent(state, DEVICE, server=server.url)
        try:
            file = agent._blocks.blob(descriptor, tmp_path / "fetch", meta=Meta())
        finally:
            agent._ranges.close()
            end(agent)
    assert file.read_bytes() == DATA
    for _, _, shown in server.asked:
        open_pass(read_pass(shown), descriptor.digest, keys={key.public.key_id: key.public})
