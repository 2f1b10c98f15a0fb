"""The docs name what the code has: nothing undocumented, no dead link."""

import re
from pathlib import Path

import pytest

from edgeops.protocol import messages
from edgeops.protocol.topics import DownKind, UpKind

PROJECT = Path(__file__).resolve().parents[2]
PAGES = [
    PROJECT / "README.md",
    PROJECT / "SECURITY.md",
    PROJECT / "CHANGELOG.md",
    *sorted((PROJECT / "docs").rglob("*.md")),
]
PROTOCOL = (PROJECT / "docs/protocol.md").read_text()
OPERATIONS = (PROJECT / "docs/operations.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_topic_is_in_the_protocol():
    lines = [f"up/<device>/{kind}`" for kind in UpKind] + [f"down/<device>/{kind}`" for kind in DownKind]
    assert [line for line in lines if line not in PROTOCOL] == []


def test_every_message_is_in_the_protocol():
    bodies = ["Status", "Reported", "Records", "Report", "Window", "Predictions", "BlockWish", "MetaWish", "Response"]
    bodies += ["Desired", "Ack", "SpoolAck", "Command", "Credit", "MetaPart", "Record"]
    assert all(hasattr(messages, body) for body in bodies)
    assert [body for body in bodies if f"`{body}" not in PROTOCOL] == []


@pytest.mark.parametrize("closed_set", [messages.UpdateState, messages.Reason], ids=lambda item: item.__name__)
def test_every_state_and_reason_is_in_the_protocol(closed_set):
    assert [member for member in closed_set if f"`{member}`" not in PROTOCOL] == []


def test_every_setting_is_in_operations():
    sources = [
        path for package in ("edgeops", "device_agent", "fleet_server") for path in (PROJECT / package).rglob("*.py")
    ]
    settings = {name for path in sources for name in re.findall(r'"(EDGEOPS_[A-Z_]+)"', path.read_text())}
    assert settings, "the code reads no settings at all?"
    assert sorted(name for name in settings if f"`{name}`" not in OPERATIONS) == []


def test_every_module_contract_is_in_the_architecture():
    import tomllib

    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    text = (PROJECT / "docs/architecture.md").read_text()
    assert [contract["id"] for contract in contracts if f"`{contract['id']}`" not in text] == []


def test_the_page_of_commands_is_what_the_commands_say():
    import runpy

    made = runpy.run_path(str(PROJECT / "docs/make_cli.py"))["page"]()
    assert (PROJECT / "docs/cli.md").read_text() == made, "run: make docs"


def test_the_page_of_faults_is_what_the_fault_table_says():
    import runpy

    made = runpy.run_path(str(PROJECT / "docs/make_faults.py"))["page"]()
    assert (PROJECT / "docs/faults.md").read_text() == made, "run: make docs"
