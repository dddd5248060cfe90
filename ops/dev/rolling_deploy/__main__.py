"""`./zenzefi fleet`: restart and kill portals and proxies behind nginx under load, and count lost requests."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

from ops.console import Failure, print_error, print_line
from ops.dev import sample_buyers
from ops.dev.bench.environment import start_servers
from ops.dev.bench.report import table
from ops.dev.rolling_deploy import networks
from ops.dev.rolling_deploy.processes import NAMES
from ops.dev.rolling_deploy.run import SHORT, Sizes, run


def main(arguments: Sequence[str]) -> int:
    """Run and report; returns 1 when a rolling restart lost a request."""
    parser = argparse.ArgumentParser(prog="./zenzefi fleet", description=__doc__)
    parser.add_argument(
        "--namespaces", action="store_true", help="each instance in its own network namespace; needs root"
    )
    parser.add_argument("--short", action="store_true", help="a short run, as in the tests")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    options = parser.parse_args(arguments)
    put = networks.in_namespaces if options.namespaces else networks.on_loopback
    try:
        # Progress must not precede the JSON.
        with (
            redirect_stdout(sys.stderr if options.json else sys.stdout),
            start_servers() as servers,
            put(NAMES) as endpoints,
        ):
            sample_buyers.migrate(servers.environment)
            results = run(servers.folder, servers.environment, endpoints, SHORT if options.short else Sizes())
    except Failure as failure:
        print_error(str(failure))
        return 1
    print_line(json.dumps(results, indent=1) if options.json else text(results))
    return 1 if lost(results["rolled"]) else 0


def lost(seen: Mapping[str, Any]) -> bool:
    """Return whether a request was not answered, or answered but not counted."""
    answered = seen["proxy_answered"] > seen["proxy_counted"] or seen["purchases_answered"] != seen["purchases_booked"]
    return bool(seen["bad"]) or answered


def text(results: Mapping[str, Any]) -> str:
    """Return the results as tables."""
    head = ["", "answers", "not answered", "p50 ms", "p95 ms", "slowest ms", "longest pause ms"]
    lines = []
    for name, seen in results.items():
        bad = [each["kind"] for each in seen["bad"]]
        for kind, row in seen["figures"].items():
            figures = (f"{row[key]:,.1f}" for key in ("p50_ms", "p95_ms", "slowest_ms", "longest_pause_ms"))
            lines.append([f"{name}: {kind}", f"{row['good']:,}", str(bad.count(kind)), *figures])
    counts = [
        [
            name,
            *(
                f"{seen[key]:,}"
                for key in ("proxy_answered", "proxy_counted", "purchases_answered", "purchases_booked")
            ),
        ]
        for name, seen in results.items()
    ]
    counted = ["", "proxy: answered", "counted", "purchases: answered", "booked"]
    return "\n".join([*table(head, lines), "", *table(counted, counts)]) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
