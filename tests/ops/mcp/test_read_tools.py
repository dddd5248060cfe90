"""Read tools and write tools of the MCP server."""

import json
import uuid

import pytest
from redis import Redis

from models.audit import AuditAction
from models.services.audit import log as audit_log
from models.services.monitoring import health_report
from models.services.monitoring.health_report import Check
from ops.console import Failure
from ops.mcp.read_tools import ReadTools
from ops.mcp.write_tools import AGENT, WriteTools
from tests.ops.mcp.conftest import Committed


def test_every_read_tool_works_and_returns_no_secret(read_tools: ReadTools, redis: Redis) -> None:
    report = {"database": Check(True, 0.001), "redis": Check(True, 0.001), "upstream": Check(None)}
    redis.set(health_report.REPORT_KEY, health_report.as_json(report))
    [alice] = read_tools.find_users("alice")["items"]
    assert alice["currency_balance"] == "82.00"
    assert read_tools.show_user("alice@example.test")["usable_tokens"] == 1
    assert read_tools.list_transactions(alice["id"])["items"][0]["amount"] == "-18.00"
    [token] = read_tools.list_tokens("alice@example.test", active_only=True)["items"]
    assert token["token"].endswith("…")
    [session] = read_tools.list_sessions(token_id=uuid.UUID(token["id"]))["items"]
    assert session["ip_address"] == "203.0.113.7"
    [payment] = read_tools.list_payments(alice["id"])["items"]
    assert read_tools.show_payment(uuid.UUID(payment["id"]))["events"] == []
    [bought] = read_tools.list_audit_log(action="token.purchased")["items"]
    assert bought["details"]["price"] == "18"
    assert read_tools.list_outages()["total"] == 0
    assert read_tools.show_health()["status"] == "healthy"
    assert read_tools.show_shop()["revenue"] == "18.00"
    assert read_tools.verify_ledger()["is_sound"] is True
    said = json.dumps([alice, token, session, payment, bought, read_tools.list_audit_log()])
    assert "argon2" not in said
    assert "hash" not in said


def test_changes_are_audited_as_the_admin(read_tools: ReadTools, committed: Committed) -> None:
    settings, factory = committed
    write_tools = WriteTools(factory, settings, admin="dana@example.test")
    [alice] = write_tools.find_users("alice")["items"]
    [token] = write_tools.list_tokens(alice["id"])["items"]
    [session] = write_tools.list_sessions(alice["id"], open_only=True)["items"]
    key = uuid.uuid4()
    assert write_tools.adjust_balance(alice["id"], "5.00", "Goodwill", key) == {"new_balance": "87.00"}
    write_tools.release_session(uuid.UUID(session["id"]))
    write_tools.revoke_token(uuid.UUID(token["id"]), "Shared in a forum")
    write_tools.disable_user(alice["id"])
    write_tools.enable_user("alice@example.test")
    with factory() as own:
        rows = audit_log.entries(own, user_id=uuid.UUID(alice["id"]), limit=20, offset=0).items
        made = {row.action: row for row in rows if row.user_agent == AGENT}
        dana = write_tools.show_user("dana@example.test")["id"]
    assert set(made) >= {
        AuditAction.BALANCE_ADJUSTED,
        AuditAction.SESSION_RELEASED,
        AuditAction.TOKEN_FORCE_REVOKED,
        AuditAction.USER_DISABLED,
        AuditAction.USER_ENABLED,
    }
    assert {str(row.actor_id) for row in made.values()} == {dana}


@pytest.mark.parametrize("name", ["alice@example.test", "nobody@example.test", ""])
def test_changes_require_an_admin(read_tools: ReadTools, committed: Committed, name: str) -> None:
    with pytest.raises(Failure, match="not an active admin"):
        WriteTools(committed[1], committed[0], admin=name)
