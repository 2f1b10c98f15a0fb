import pytest

from tests.contract.proxy import CuttingProxy
from tests.contract.rig import ApiRig


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    rig = ApiRig(tmp_path_factory.mktemp("api"))
    yield rig
    rig.close()


@pytest.fixture
def cutting_proxy(rig):
    proxy = CuttingProxy(rig.url)
    yield proxy
    proxy.close()
