"""Uploads and exports of datasets beside each other: one export at a time, and no upload lost to another's end."""

import asyncio
import io

import httpx
import numpy as np
import pytest

from edgeops.api.roles import Role
from fleet_server.access import Access
from fleet_server.app import create_app
from fleet_server.blobs import Blobs
from fleet_server.config import ServerConfig
from fleet_server.datasets.snapshot import encode_snapshot
from fleet_server.db import datasets, jobs
from fleet_server.db.database import Database
from fleet_server.setup import init
from tests.contract.rig import DEADLINE_S, START
from tests.imported import import_file


@pytest.fixture
def config(tmp_path):
    config = ServerConfig(tmp_path / "data")
    init(config, now=START)
    return config


@pytest.fixture
def database(config):
    database = Database.in_folder(config.db)
    yield database
    database.close()


@pytest.fixture
def token(database):
    return Access(database).create_token("ann", Role.OPERATOR, created_by="test", now=START).text


def table(folder):
    path = folder / "table.npz"
    np.savez(path, X=np.arange(90, dtype=np.float32).reshape(30, 3), y=np.arange(30) % 2)
    return path


def client(app, token):
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(
        transport=transport, base_url="http://here/api/v1", headers={"Authorization": f"Bearer {token}"}
    )


def test_an_export_waits_for_the_one_before_and_holds_up_nothing_else(config, database, token, tmp_path):
    snapshot = import_file(table(tmp_path), file_name="table.npz", label="y")
    data = encode_snapshot(snapshot)
    with database.write() as connection:
        datasets.add_snapshot(
            connection,
            "table",
            Blobs(config).put(data),
            size_bytes=len(data),
            schema=snapshot.schema,
            created_by="me",
            now=START,
        )

    async def ask():
        app = create_app(config)
        async with client(app, token) as api:
            async with app.state.server.exporting:
                waiting = [asyncio.create_task(api.get("/datasets/table/rows")) for _ in range(100)]
                assert (await api.get("/datasets/table")).status_code == 200
                await asyncio.sleep(0)
                assert not any(one.done() for one in waiting)
            return await asyncio.wait_for(asyncio.gather(*waiting), DEADLINE_S)

    answers = asyncio.run(ask())
    assert {answer.status_code for answer in answers} == {200}
    assert np.load(io.BytesIO(answers[0].content))["X"].shape[1] == 3


def test_an_upload_that_the_end_of_another_import_cleared_away_is_refused_and_not_queued(
    config, database, token, tmp_path
):
    file = table(tmp_path).read_bytes()

    async def send():
        app = create_app(config)
        async with client(app, token) as api:
            form = {"name": "table", "label": "y"}
            await api.get("/datasets")  # notes the token's use, which would need the lock as well
            with database.write():  # as the desk does while it clears away
                sending = asyncio.create_task(api.post("/datasets", data=form, files={"file": ("table.npz", file)}))
                async with asyncio.timeout(DEADLINE_S):
                    while not (found := [path for path in config.blobs.rglob("*") if is_whole(path)]):  # noqa: ASYNC110 - a file tells nobody that it came
                        await asyncio.sleep(0.01)
                found[0].unlink()
            return await asyncio.wait_for(sending, DEADLINE_S)

    answer = asyncio.run(send())
    assert (answer.status_code, "send it again" in answer.json()["detail"]) == (409, True)
    with database.read() as connection:
        assert jobs.page(connection, None, 10) == []


def is_whole(path):
    return path.is_file() and not path.name.startswith(".")
