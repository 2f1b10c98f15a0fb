"""Which server a command speaks to, and as whom."""

import pytest

from edgeops.cli.connection import connect
from edgeops.errors import AccessError, ConfigError, UnreachableError
from edgeops.local.endpoints import Endpoints, admin_token_file, default_data, write_endpoints

LOCAL = "http://127.0.0.1:8470"


@pytest.fixture
def folder(tmp_path):
    """The data folder of a server on this machine."""
    (tmp_path / "run").mkdir()
    (tmp_path / "keys").mkdir()
    write_endpoints(tmp_path, Endpoints(url=LOCAL, broker_host="127.0.0.1", broker_port=8471, pid=1))
    admin_token_file(tmp_path).write_text("edgeops_a_secret\n")
    return tmp_path


def authorization(client) -> str | None:
    return client._wire._http.headers.get("Authorization")


def test_the_server_of_this_machine_is_found_with_its_administrators_token(folder):
    with connect(None, None, folder) as client:
        assert client.url == LOCAL
        assert authorization(client) == "Bearer edgeops_a_secret"


def test_options_win_over_the_data_folder(folder):
    with connect("http://127.0.0.1:9", "mine", folder) as client:
        assert client.url == "http://127.0.0.1:9"
        assert authorization(client) == "Bearer mine"


def test_the_local_administrators_token_never_goes_to_another_server(folder):
    with pytest.raises(AccessError, match="no token for http://elsewhere"):
        connect("http://elsewhere.example", None, folder)


def test_the_local_server_named_by_its_url_gets_the_local_token(folder):
    with connect(LOCAL + "/", None, folder) as client:
        assert authorization(client) == "Bearer edgeops_a_secret"


def test_without_a_server_the_error_says_how_to_get_one(tmp_path):
    with pytest.raises(UnreachableError, match="edgeops up"):
        connect(None, None, tmp_path)


def test_a_damaged_endpoints_file_is_named(folder):
    (folder / "run/endpoints.json").write_text("{")
    with pytest.raises(ConfigError, match=r"endpoints\.json"):
        connect(None, None, folder)


def test_an_address_that_is_none_is_a_setting_that_cannot_be_used(folder):
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:8470"):
        connect("127.0.0.1:8470", "token", folder)


def test_the_data_folder_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.delenv("EDGEOPS_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_data() == tmp_path / "edgeops"
    monkeypatch.setenv("EDGEOPS_DATA", str(tmp_path / "mine"))
    assert default_data() == tmp_path / "mine"
