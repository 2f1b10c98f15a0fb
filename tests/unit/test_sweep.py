"""What an interrupted write leaves behind goes with the next start, and nothing else does."""

from device_agent.store.slots import Slots
from device_agent.store.state import DeploymentStore
from edgeops.digest import sweep, write_atomically
from edgeops.update.update import Update


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def test_only_leftovers_of_the_named_files_go(tmp_path):
    write_atomically(tmp_path / "boot", b"7")
    for name in (".boot.x1y2z3", ".boot.a", ".other.x1", "boot.corrupt", ".boot"):
        (tmp_path / name).write_bytes(b"")
    sweep(tmp_path, ["boot"])
    assert names(tmp_path) == [".boot", ".other.x1", "boot", "boot.corrupt"]


def test_a_deployment_sweeps_its_own_files_when_it_is_opened(tmp_path):
    DeploymentStore(tmp_path).save(Update())
    for name in (".update.json.k2", ".pointer.json.k3", ".config.json.k4"):
        (tmp_path / name).write_bytes(b"half")
    DeploymentStore(tmp_path)
    Slots(tmp_path)
    # The owner's command line may be writing its file right now.
    assert names(tmp_path) == [".config.json.k4", "update.json"]
