import pytest

from tests.contract.rig import ApiRig


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    rig = ApiRig(tmp_path_factory.mktemp("api"))
    yield rig
    rig.close()
