"""The private mosquitto: its accounts, its access rules, its configuration file.

Writes files and asks a running broker to read them again. It does not start or stop the broker, and
the accounts themselves live in the table `broker_accounts`: the password file is a copy of it.
"""

import base64
import binascii
import fcntl
import hashlib
import os
import re
import secrets
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from edgeops import limits
from edgeops.digest import write_atomically
from edgeops.errors import ConfigError, InputError
from edgeops.protocol.topics import CLIENT_ID_PREFIX, mosquitto_acl
from fleet_server.config import ServerConfig

#: mosquitto hashes the password of every connected client again at every reload. Our passwords are
#: 256 random bits, which stretching cannot make safer, so its own default stays.
_ITERATIONS = 101
#: mosquitto 2.0 refuses salts of another length (password_mosq.h, SALT_LEN).
_SALT_BYTES = 12
#: What the broker keeps for the link while it is down; devices send again what was not acknowledged.
_QUEUED_MESSAGES = 50_000
_QUEUED_BYTES = 128 * 1024 * 1024
_AUTOSAVE_S = 60
#: A broker that has written its pid but does not catch SIGHUP yet is waited for.
_STARTING_S = 10.0

_USERNAME = re.compile(r"[a-z0-9][a-z0-9-]{2,62}")


def new_password() -> str:
    """256 random bits as text."""
    return secrets.token_urlsafe(32)


def hash_password(password: str, *, salt: bytes | None = None) -> str:
    """`password` as mosquitto keeps it: `$7$<iterations>$<salt>$<hash>`, PBKDF2 with HMAC-SHA512."""
    salt = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
    derived = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
    return f"$7${_ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(derived).decode()}"


def password_matches(stored: str, password: str) -> bool:
    """Whether `stored` is a hash of `password`."""
    try:
        salt = base64.b64decode(stored.split("$")[3], validate=True)
    except (IndexError, binascii.Error):
        return False
    return secrets.compare_digest(hash_password(password, salt=salt), stored)


def write_configuration(config: ServerConfig) -> None:
    """Write `mosquitto.conf` and the access rules; needed again whenever the listener moves."""
    config.broker.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(config.broker_acl, mosquitto_acl(config.broker_user).encode(), mode=0o600)
    write_atomically(config.broker_conf, _configuration(config).encode(), mode=0o600)


@contextmanager
def exclusive_accounts(config: ServerConfig) -> Iterator[None]:
    """Hold this while the accounts are read from the table, written and reloaded.

    Two processes that enrol at the same moment would otherwise overwrite each other's accounts.
    """
    config.broker.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(config.broker / "passwd.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def write_accounts(config: ServerConfig, accounts: Mapping[str, str]) -> None:
    """Write the password file: user name -> hash as `hash_password` makes it.

    Raises:
        InputError: a user name that could not stand in a password file or a topic.
    """
    for username in accounts:
        if _USERNAME.fullmatch(username) is None:
            raise InputError(f"{username[:80]!r} cannot be a broker account; expected [a-z0-9][a-z0-9-]{{2,62}}")
    lines = "".join(f"{username}:{password_hash}\n" for username, password_hash in sorted(accounts.items()))
    write_atomically(config.broker_passwd, lines.encode(), mode=0o600)


def reload(config: ServerConfig) -> bool:
    """Make a running broker read its accounts and rules again; False when none runs.

    The pid file may be stale and its number taken by a stranger, whom SIGHUP would end: only a
    process that was started with our configuration file gets the signal.
    """
    pid = broker_pid(config)
    if pid is None:
        return False
    deadline = time.monotonic() + _STARTING_S
    while not _catches_hangup(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    try:
        os.kill(pid, signal.SIGHUP)
    except ProcessLookupError:
        return False
    return True


def broker_pid(config: ServerConfig) -> int | None:
    """The pid of the broker that runs with our configuration file, if one does."""
    try:
        pid = int(config.broker_pid.read_text())
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if os.fsencode(config.broker_conf) in arguments else None


def server_password(config: ServerConfig) -> str:
    """The password of the server's own broker account.

    Raises:
        ConfigError: the data folder was not initialised.
    """
    try:
        return config.server_password.read_text().strip()
    except OSError as error:
        raise ConfigError(f"no broker password in {config.data}; run `edgeops-server init` first") from error


def _configuration(config: ServerConfig) -> str:
    lines = [
        "# Generated by EdgeOps; changes are overwritten.",
        f"listener {config.broker_port} {config.broker_host}",
        *(["tls_version tlsv1.2", f"certfile {config.certificate}", f"keyfile {config.certificate}"] * config.tls),
        "use_username_as_clientid true",
        # mosquitto 2.0.11 drops the session of whoever a CONNECT without credentials names (SECURITY.md).
        f"clientid_prefixes {CLIENT_ID_PREFIX}",
        "allow_anonymous false",
        f"password_file {config.broker_passwd}",
        f"acl_file {config.broker_acl}",
        f"pid_file {config.broker_pid}",
        "",
        f"max_packet_size {limits.MAX_PACKET_BYTES}",
        f"max_inflight_messages {limits.RECEIVE_MAXIMUM}",
        f"max_queued_messages {_QUEUED_MESSAGES}",
        f"max_queued_bytes {_QUEUED_BYTES}",
        "queue_qos0_messages false",
        "set_tcp_nodelay true",
        "sys_interval 0",
        "",
        "persistence true",
        f"persistence_location {config.broker}/",
        f"autosave_interval {_AUTOSAVE_S}",
        "",
        # Read by `fleet_server.broker_process`; refusals of the ACL are told among the packets only.
        "log_dest stderr",
        "log_timestamp_format %Y-%m-%dT%H:%M:%S%z",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "log_type debug",
        "log_type subscribe",
        "connection_messages true",
    ]
    if os.geteuid() == 0:
        # Started as root, mosquitto would become `mosquitto`, who may not exist and cannot read our files.
        lines.append("user root")
    return "\n".join(lines) + "\n"


def _catches_hangup(pid: int) -> bool:
    """Whether the process has a SIGHUP handler: bit 0 of SigCgt in proc_pid_status(5)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) & 1)
