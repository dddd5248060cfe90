"""`./zenzefi load`: start a platform, let Locust loose on it without a head, and write a report.

1. Locust lives in `.venv-load`, made on first use from ops/dev/load/requirements.txt.
2. The platform is started as `./zenzefi up` starts it, in a temporary folder, on free ports, with limits out of reach.
3. Buyers with money and tokens are made; some log in and go through the portal, others only use the proxy.
4. The report goes to a folder: report.html and CSV of Locust's, summary.md of ours. A target that is missed is told,
   and is no failure of the command; a request that failed is.
"""

import argparse
import os
import resource
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from models import clock
from ops import bootstrap
from ops.console import Failure, Step, print_error, print_line
from ops.dev.load import platform, summary

VENV = bootstrap.REPOSITORY / ".venv-load"


def main(arguments: Sequence[str]) -> int:
    """Do it; returns 0 when no request failed."""
    options = _parse(arguments)
    try:
        python = bootstrap.ensure("load", VENV)
        options.out.mkdir(parents=True, exist_ok=True)
        _allow_files()
        with tempfile.TemporaryDirectory(prefix="zenzefi-load-", ignore_cleanup_errors=True) as name:
            folder = Path(name).resolve()
            folder.chmod(0o711)  # the user that PostgreSQL runs as for root must be able to pass through
            with platform.start_platform(folder, options) as (ready, settings):
                with Step("Buyers and tokens"):
                    facts = platform.create_users(ready, settings, options)
                used = platform.run_locust(python, folder, facts, options)
        written = summary.text(options.out, options, used)
    except (Failure, OSError) as failure:
        print_error(str(failure))
        return 2
    (options.out / "summary.md").write_text(written, encoding="utf-8")
    print_line()
    print_line(written)
    print_line(f"Written to {options.out}: report.html, summary.md, load_stats.csv and more")
    return 1 if used.exit_code else 0


def _allow_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./zenzefi load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=60, help="how long the load lasts (default 60)")
    parser.add_argument("--rate", type=int, default=1000, help="requests a second offered to the proxy (default 1000)")
    parser.add_argument("--clients", type=int, default=64, help="programs that use the proxy at once (default 64)")
    parser.add_argument("--buyers", type=int, default=10, help="people in the portal at once (default 10)")
    parser.add_argument("--api-clients", type=int, default=4, metavar="N", help="clients of the JSON API (default 4)")
    parser.add_argument(
        "--pages", type=float, default=1.0, metavar="N", help="what each of them does in a second (default 1)"
    )
    parser.add_argument("--workers", type=int, default=2, help="proxy workers (default 2)")
    folder = Path.home() / ".cache" / "zenzefi" / f"load-{clock.now():%Y%m%d-%H%M%S}"
    parser.add_argument("--out", type=Path, metavar="DIR", default=folder, help=f"where the report goes ({os.sep}…)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
