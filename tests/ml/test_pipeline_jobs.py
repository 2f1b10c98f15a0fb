"""A pipeline from a file to a published model, on a real server that really trains."""

import json
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from edgeops.api.roles import Role
from edgeops.cli.app import run
from fleet_server.job_desk import JobDesk
from tests.contract.rig import ApiRig

FILE = """
[datasets.smells]
file = "smells.csv"
[datasets.smells.rules]
label = "smell"
group = "person"

[models.nose]
dataset = "smells"
epochs = 3
publish = ["int8"]
"""


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    rig = ApiRig(tmp_path_factory.mktemp("pipeline"))
    yield rig
    rig.close()


@contextmanager
def desk_of(rig):
    """The process that does jobs, as a thread."""
    stop = threading.Event()
    desk = JobDesk(rig.config, rig.database, stop)
    desk.recover()

    def work():
        while not stop.is_set():
            if not desk.do_next():
                stop.wait(0.05)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        desk.close()


def write_rows(path, *, seed):
    random = np.random.default_rng(seed)
    rows = [
        f"{x:.3f},{y:.3f},{'sweet' if x + y > 0 else 'sour'},p{number % 5}"
        for number, (x, y) in enumerate(random.normal(size=(200, 2)))
    ]
    path.write_text("\n".join(["x,y,smell,person", *rows]) + "\n")


@pytest.fixture
def pipeline(rig, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("EDGEOPS_URL", rig.url)
    monkeypatch.setenv("EDGEOPS_TOKEN", rig.tokens[Role.ADMIN])
    write_rows(tmp_path / "smells.csv", seed=1)
    (tmp_path / "edgeops.toml").write_text(FILE)

    def call(verb, *options):
        capsys.readouterr()
        code = run(["pipeline", verb, str(tmp_path / "edgeops.toml"), "--json", *options])
        out = capsys.readouterr().out
        return code, [(one["kind"], one["standing"]) for one in json.loads(out)["steps"]] if out else None

    return call


def jobs_of(rig):
    return rig.request("GET", "/api/v1/jobs", role=Role.ADMIN).json()["items"]


def test_a_pipeline_is_done_once_and_what_changes_is_done_again(rig, pipeline, tmp_path):
    assert pipeline("plan") == (0, [("import", "to do"), ("train", "to do"), ("publish", "to do")])
    # Nobody does jobs yet, so the person gives up waiting; the job stays in the queue.
    assert pipeline("run", "--timeout", "1s")[0] == 9
    assert pipeline("plan") == (0, [("import", "running"), ("train", "to do"), ("publish", "to do")])
    with desk_of(rig):
        assert pipeline("run") == (0, [("import", "done"), ("train", "done"), ("publish", "done")])
        done = len(jobs_of(rig))
        assert done == 3
        assert pipeline("run") == (0, [("import", "done"), ("train", "done"), ("publish", "done")])
        assert len(jobs_of(rig)) == done
        # What is forgotten stays so: the file is not imported again, but what is left is learnt anew.
        assert run(["dataset", "forget", "smells", "--group", "p3", "--yes"]) == 0
        assert pipeline("plan") == (0, [("import", "done"), ("train", "to do"), ("publish", "to do")])
        write_rows(tmp_path / "smells.csv", seed=2)
        assert pipeline("plan")[1][0] == ("import", "to do")


def test_a_step_that_fails_ends_the_run_and_leaves_those_before_it(rig, pipeline, tmp_path):
    (tmp_path / "edgeops.toml").write_text(FILE + "[models.nose.options]\nbatch = 0\n")
    with desk_of(rig):
        assert pipeline("run")[0] == 1
        assert pipeline("plan") == (0, [("import", "done"), ("train", "to do"), ("publish", "to do")])
