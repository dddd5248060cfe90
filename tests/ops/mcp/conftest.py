"""Fixtures for tests of the MCP server."""

import sys

import pytest

from models.config.settings import Settings
from models.database import Sessions
from models.services.actor import Actor
from models.services.gateway import sessions
from ops.mcp.read_tools import ReadTools
from tests.factories import buy, person, top_up

Committed = tuple[Settings, Sessions]

# The library cannot be installed beside mitmproxy on Python 3.12 (requirements-mcp.txt), and neither can the command.
collect_ignore = ["test_protocol.py"] if sys.version_info < (3, 13) else []


@pytest.fixture
def read_tools(committed: Committed) -> ReadTools:
    """A database with alice, who paid, bought a token and used it, and dana, the admin."""
    settings, factory = committed
    alice = person(factory, "alice", balance="100")
    person(factory, "dana", is_superuser=True)
    with factory.begin() as session:
        token = buy(session, alice, settings)
        sessions.start_session(
            session, token.id, device=None, rules=settings.sessions, actor=Actor(None, "203.0.113.7")
        )
        top_up(session, alice, settings)
    return ReadTools(factory, settings)
