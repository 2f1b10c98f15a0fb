"""A private PostgreSQL for tests: own data folder, unix socket, nothing kept safe, gone with the process that started it.

PostgreSQL refuses to run as root, so there it runs as `nobody`, like the folder it lives in.
"""

import ctypes
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

_UNPACKED = Path(__file__).parents[1] / ".tools/postgresql/usr/lib/postgresql"
_SYSTEM = Path("/usr/lib/postgresql")
_NOBODY = "nobody"
_PR_SET_PDEATHSIG = 1
#: Nothing here outlives a power cut, and waiting for the disk is most of the time.
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "unix_socket_permissions": "0700",
}


def binaries():
    """The folder with `initdb` and `postgres`: the one that EDGEOPS_TEST_POSTGRESQL names, else the newest; None = none."""
    named = os.environ.get("EDGEOPS_TEST_POSTGRESQL")
    if named:
        return Path(named)
    for root in (_SYSTEM, _UNPACKED):
        found = sorted(root.glob("*/bin/postgres"), key=lambda path: float(path.parent.parent.name))
        if found:
            return found[-1].parent
    return None


def unusable():
    """Why no PostgreSQL can be started here; empty = it can."""
    folder = binaries()
    if folder is None:
        return "no PostgreSQL here; `make test` unpacks one where apt-get is"
    if os.geteuid() == 0:
        command = [folder / "postgres", "--version"]
        probe = subprocess.run(command, check=False, capture_output=True, env=environment(folder), **_as_nobody())
        if probe.returncode:
            return f"user {_NOBODY} cannot run {folder}/postgres, and root must not"
    return ""


def name_of(url):
    """The database that a URL of a private server names."""
    return url.split("/")[3].split("?")[0]


class PrivateServer:
    """One server; `stop` it, or it ends with this process."""

    def __init__(self, *, port=0, password=None):
        """`port` = listen there on 127.0.0.1, too, for whoever knows the `password` of user edgeops."""
        self._binaries = binaries()
        self.folder = Path(tempfile.mkdtemp(prefix="edgeops-pg-"))
        self._how = {"env": environment(self._binaries)} | (_as_nobody() if os.geteuid() == 0 else {})
        self._port = port
        if os.geteuid() == 0:
            shutil.chown(self.folder, _NOBODY, self._how["group"])
        self._data = self.folder / "data"
        arguments = ["--no-sync", "--encoding=UTF8", "--locale=C", "--username=edgeops", "--auth-local=trust"]
        if password is not None:
            secret = self.folder / "secret"
            secret.write_text(password)
            secret.chmod(0o644)
            arguments += ["--auth-host=scram-sha-256", f"--pwfile={secret}"]
        self._run("initdb", "-D", self._data, *arguments)
        self.start()

    def start(self):
        """Start it, again after a `kill` too."""
        settings = _SETTINGS | {"listen_addresses": "127.0.0.1" if self._port else "", "port": str(self._port or 5432)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        log = (self.folder / "log").open("ab")
        parent = os.getpid()
        self.process = subprocess.Popen(
            [self._binaries / "postgres", "-D", self._data, "-k", self.folder, *options],
            stdout=log,
            stderr=log,
            cwd=self.folder,
            start_new_session=True,
            preexec_fn=lambda: _end_with(parent),  # noqa: PLW1509 - bare system calls; the only way before exec
            **self._how,
        )
        log.close()
        deadline = time.monotonic() + 60
        while not self.answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "PostgreSQL does not start"
            time.sleep(0.02)

    def answers(self):
        """Whether it takes connections now."""
        try:
            psycopg.connect(self.url("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def url(self, name):
        """The URL of one of its databases, over its socket."""
        return f"postgresql://edgeops@/{name}?host={self.folder}&port={self._port or 5432}"

    def execute(self, statement):
        """Run one statement on the database `postgres`, outside of a transaction."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def create(self, *, template="template0"):
        """A new database; its URL."""
        name = f"edgeops_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return self.url(name)

    def drop(self, url):
        """Remove a database, whoever is connected."""
        self.execute(f"DROP DATABASE IF EXISTS {name_of(url)} WITH (FORCE)")

    def kill(self):
        """End it at once, as a crash does."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(timeout=30)

    def stop(self):
        """End it, and forget all."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program, *arguments):
        done = subprocess.run(
            [self._binaries / program, *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            **self._how,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def environment(folder):
    """An unpacked server uses the libraries that came with it."""
    root = next((parent.parent for parent in folder.parents if parent.name == "usr"), None)
    if root is None or root == Path("/"):
        return dict(os.environ)
    libraries = [*root.glob("usr/lib/*-linux-gnu"), *root.glob("lib/*-linux-gnu")]
    return os.environ | {"LD_LIBRARY_PATH": ":".join(map(str, libraries))}


def _as_nobody():
    user = pwd.getpwnam(_NOBODY)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _end_with(parent):
    # A server that somebody kills the tests of must not stay; it ends as after a crash.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
    if os.getppid() != parent:
        os._exit(1)
