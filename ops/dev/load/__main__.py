"""`./zenzefi load`: start a platform, load-test it with Locust, and write a report.

1. Locust is installed in `.venv-load` on first use, from ops/dev/load/requirements.txt.
2. The platform is started by `./zenzefi up` in a temporary folder, on free ports, with limits that are not reached.
3. Users buy tokens in the portal's pages, use the JSON API, or send requests through the proxy.
4. The report has report.html and CSV files of Locust, and summary.md. A missed target is reported and is not an error;
   a failed request is.
"""

import argparse
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
    """Run the load test; returns 0 when no request failed."""
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
    parser.add_argument("--seconds", type=int, default=60, help="duration of the load (default 60)")
    parser.add_argument("--rate", type=int, default=1000, help="requests a second offered to the proxy (default 1000)")
    parser.add_argument("--clients", type=int, default=64, help="concurrent clients of the proxy (default 64)")
    parser.add_argument("--buyers", type=int, default=10, help="concurrent users of the portal's pages (default 10)")
    parser.add_argument("--api-clients", type=int, default=4, metavar="N", help="clients of the JSON API (default 4)")
    parser.add_argument(
        "--pages", type=float, default=1.0, metavar="N", help="pages or API calls per user and second (default 1)"
    )
    parser.add_argument("--workers", type=int, default=2, help="proxy workers (default 2)")
    folder = Path.home() / ".cache" / "zenzefi" / f"load-{clock.now():%Y%m%d-%H%M%S}"
    parser.add_argument(
        "--out", type=Path, metavar="DIR", default=folder, help="folder of the report (default: in ~/.cache/zenzefi)"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
