"""`./zenzefi fuzz`: let Schemathesis attack a portal of its own over the whole document.

1. It lives in `.venv-fuzz`, made on first use from ops/dev/fuzz/requirements.txt.
2. The portal has its own PostgreSQL and Redis in a temporary folder, and wide limits.
3. A reply of 500 and above, a status, header, type or body that the document does not tell of, is a failure.

Arguments go to `schemathesis run`; `--max-examples 200` looks harder, `--seed N` repeats a run.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

from models import database
from models.config.settings import Settings
from models.logins import LoginKind
from models.services.accounts import logins, users
from models.services.actor import PLATFORM
from models.services.ledger import adjustments
from ops import bootstrap
from ops.console import Failure, print_error, print_line
from ops.dev.screenshots.scratch_portal import settings_of, stage
from portal.api import login_tokens

VENV = bootstrap.REPOSITORY / ".venv-fuzz"
LIMITS = ("AUTH_PER_HOUR", "AUTH_PER_ADDRESS", "REGISTRATIONS_PER_HOUR", "API_PER_MINUTE")
WIDE = {f"ZENZEFI_LIMITS__{name}": "1000000" for name in LIMITS}
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
    "unsupported_method",
    "use_after_free",
)
# Where the answer to whom is asked, not how it is asked: callbacks are signed, and details are told to this machine.
LEFT_OUT = r"^/health/detailed$"


def main(arguments: Sequence[str]) -> int:
    """Start a portal, attack it, and return Schemathesis's exit code."""
    if list(arguments) in (["-h"], ["--help"]):
        print_line(__doc__ or "")
        return 0
    try:
        python = bootstrap.ensure("fuzz", VENV)
        with stage(WIDE) as portal:
            token = _admins_token(settings_of(portal.app))
            command = [python, "-m", "schemathesis.cli", "run", f"{portal.address}/openapi.json"]
            command += ["--header", f"Authorization: Bearer {token}", "--checks", ",".join(CHECKS)]
            command += ["--exclude-path-regex", LEFT_OUT, "--workers", "2", *arguments]
            environment = {**os.environ, "PYTHONSAFEPATH": "1"}
            return subprocess.run(command, check=False, env=environment, cwd=VENV).returncode
    except Failure as failure:
        print_error(str(failure))
        return 2


def _admins_token(settings: Settings) -> str:
    """Return a login of an admin with money: no limit stops him, and every endpoint is open."""
    engine = database.connect(settings.database)
    with database.sessions(engine).begin() as session:
        admin = users.register(
            session, email="fuzz@example.test", username="fuzz", password="a password for fuzzing",  # noqa: S106
            actor=PLATFORM, is_superuser=True,
        )  # fmt: skip
        adjustments.adjust(session, admin, amount=Decimal(1_000_000), reason="money to spend", actor=PLATFORM)
        login = logins.begin(session, admin, kind=LoginKind.API, lifetime=timedelta(minutes=60), actor=PLATFORM)
        token = login_tokens.issue(settings.portal, admin, login)
    engine.dispose()
    return token


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
