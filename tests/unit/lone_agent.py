"""An agent in this process, without server and broker: who it is, where its state lies, and how it ends."""

from device_agent.agent import Agent
from device_agent.config import Device, StateFolder
from edgeops.protocol.keys import SigningKey, write_private_key

DEADLINE_S = 20.0
#: Nobody listens there.
DEVICE = Device(
    id="meter-1a2b",
    name="meter",
    server="http://127.0.0.1:9",
    tuf_url="http://127.0.0.1:9/tuf",
    broker_host="127.0.0.1",
    broker_port=9,
    broker_user="meter-1a2b",
    broker_password="secret",
)


def enrolled(folder, key=None) -> StateFolder:
    """A state folder that has a key."""
    state = StateFolder(folder)
    state.path.mkdir(exist_ok=True)
    write_private_key(state.key, key or SigningKey.generate())
    return state


def end(agent: Agent) -> None:
    """Give back what an agent holds that never ran."""
    agent._deployments.stop()
    agent._tray.close(DEADLINE_S)
    agent._spool.close()
    agent._control._socket.close()
