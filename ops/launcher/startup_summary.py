"""Report of a complete start: addresses and credentials for the terminal, and the ready file for programs."""

import json
import os
from pathlib import Path
from typing import Any

from ops.console import print_line
from ops.launcher.plan import Plan
from ops.launcher.process_table import Parts, reachable_address


def _addresses(plan: Plan) -> tuple[str, str]:
    portal, proxy = plan.settings.portal, plan.settings.proxy
    return (
        f"http://{reachable_address(portal.host)}:{portal.port}",
        f"http://{reachable_address(proxy.host)}:{proxy.port}",
    )


def _password(plan: Plan, made: dict[str, Any]) -> str | None:
    """Return the first admin's password until it was shown once."""
    secret = plan.settings.admin.password
    if secret is None or not (made["admin_created"] or _unseen(plan).exists()):
        return None
    return secret.get_secret_value()


def _unseen(plan: Plan) -> Path:
    """Return the file that marks that the first admin was created but the password was not shown yet."""
    return plan.folders.run / "admin-password-unseen"


def mark_password_unseen(plan: Plan, made: dict[str, Any]) -> None:
    """Mark that an admin was created: a start that fails afterwards must not lose the password."""
    if made["admin_created"]:
        _unseen(plan).touch(0o600)


def write_ready(file: Path | None, plan: Plan, parts: Parts, made: dict[str, Any]) -> None:
    """Write the ready file atomically, readable by its owner only."""
    if file is None:
        return
    portal, proxy = _addresses(plan)
    facts = {
        "portal_url": portal,
        "proxy_url": proxy,
        "upstream_url": plan.settings.upstream.url,
        "admin_email": made["admin_email"],
        "admin_password": _password(plan, made),
        "demo_token": made["demo_token"],
        "pids": {
            "postgres": plan.postgres.child.pid if plan.postgres else None,
            "redis": plan.redis.child.pid if plan.redis else None,
            "portal": parts.portal.pid,
            "proxy": parts.proxy_workers,
            "worker": parts.worker.pid,
            "scheduler": parts.worker.pid,
            "upstream": parts.upstream.pid if parts.upstream else None,
        },
    }
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as output:
        json.dump(facts, output)
    fresh.replace(file)


def remove(file: Path | None) -> None:
    if file is not None:
        file.unlink(missing_ok=True)


def print_summary(plan: Plan, made: dict[str, Any]) -> None:
    """Print addresses, credentials, and a command to try the proxy."""
    portal, proxy = _addresses(plan)
    password = _password(plan, made)
    print_line()
    print_line(f"  Portal    {portal}")
    print_line(f"  Proxy     {proxy}  ->  {plan.settings.upstream.url}")
    print_line(f"  Admin     {made['admin_email']}")
    if password:
        print_line(f"  Password  {password}  (shown this once; kept in {plan.folders.secrets / 'admin.password'})")
    print_line(f"  Data      {plan.folders.data}")
    if made["demo_token"]:
        path = "/certificates/filter" if plan.upstream_port is not None else "/"
        print_line()
        print_line("Try the proxy with the demo token:")
        print_line(f"  curl -H 'X-Access-Token: {made['demo_token']}' {proxy}{path}")
    print_line()
    print_line("Press Ctrl-C to stop.")
    remove(_unseen(plan))
