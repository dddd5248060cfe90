"""`./zenzefi fuzz`: fuzz the JSON API of a scratch portal with Schemathesis, over the whole OpenAPI document.

1. Schemathesis is installed in `.venv-fuzz` on first use, from ops/dev/fuzz/requirements.txt.
2. The portal has its own PostgreSQL and Redis in a temporary folder, and high limits.
3. A response of 500 and above, or a status, header, type or body that is not in the document, is a failure.

Arguments go to `schemathesis run`; `--max-examples 200` is more thorough, `--seed N` repeats a run.
"""

import os
import subprocess
import sys
from collections.abc import Sequence

from models import database
from models.config.settings import Settings
from ops import bootstrap
from ops.console import Failure, print_error, print_line
from ops.dev import sample_buyers
from ops.dev.screenshots.scratch_portal import settings_of, start_scratch_portal
from ops.processes.secret_files import random_key

VENV = bootstrap.REPOSITORY / ".venv-fuzz"
LIMITS = ("AUTH_PER_HOUR", "AUTH_PER_ADDRESS", "REGISTRATIONS_PER_HOUR", "API_PER_MINUTE")
HIGH_LIMITS = {f"ZENZEFI_LIMITS__{name}": "1000000" for name in LIMITS}
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
# Its response depends on the client's address, not on the request.
EXCLUDED = r"^/health/detailed$"


def main(arguments: Sequence[str]) -> int:
    """Start a portal, fuzz it, and return Schemathesis's exit code."""
    if list(arguments) in (["-h"], ["--help"]):
        print_line(__doc__ or "")
        return 0
    try:
        python = bootstrap.ensure("fuzz", VENV)
        with start_scratch_portal(HIGH_LIMITS) as portal:
            token = _admin_token(settings_of(portal.app))
            command = [python, "-m", "schemathesis.cli", "run", f"{portal.address}/openapi.json"]
            command += ["--header", f"Authorization: Bearer {token}", "--checks", ",".join(CHECKS)]
            command += ["--exclude-path-regex", EXCLUDED, "--workers", "2", *arguments]
            environment = {**os.environ, "PYTHONSAFEPATH": "1"}
            return subprocess.run(command, check=False, env=environment, cwd=VENV).returncode
    except Failure as failure:
        print_error(str(failure))
        return 2


def _admin_token(settings: Settings) -> str:
    """Return a bearer token of an admin with a balance: every endpoint is open to it."""
    engine = database.connect(settings.database)
    with database.sessions(engine).begin() as session:
        admin = sample_buyers.create(session, settings, "fuzz", password=random_key(), is_superuser=True).user
        token = sample_buyers.log_in(session, settings, admin)
    engine.dispose()
    return token


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
