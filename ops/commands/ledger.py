"""`./zenzefi ledger verify`: verify the ledger and report every rule that fails."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.exc import OperationalError, ProgrammingError

from models import clock, database
from models.services import messages
from models.services.ledger import verification as ledger_verification
from models.services.ledger.verification import Report
from ops.console import Failure, print_error, print_line
from ops.launcher.installation import DATA, settings_of

EXIT_OK, EXIT_INVALID, EXIT_UNKNOWN = 0, 1, 2


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns 0, 1 when verification failed, or 2 when it was not possible."""
    options = _parse(arguments)
    try:
        engine = database.connect(settings_of(options.data).database)
        with database.sessions(engine).begin() as session:
            report = ledger_verification.verify(session)
        engine.dispose()
    except Failure as failure:
        print_error(str(failure))
        return EXIT_UNKNOWN
    except (OperationalError, ProgrammingError) as error:
        print_error(f"The ledger cannot be read: {str(error.orig).strip().splitlines()[0]}")
        return EXIT_UNKNOWN
    print_line(json.dumps(as_dict(report), indent=1) if options.json else text(report))
    return EXIT_OK if report.is_sound else EXIT_INVALID


def text(report: Report) -> str:
    """Return a report as text."""
    lines = [f"The ledger at {clock.now():%Y-%m-%d %H:%M:%S} UTC", ""]
    lines += [f"  {'transfers':<24}{report.transfers:>20,}", f"  {'turnover, ZNC':<24}{report.turnover:>20,.2f}"]
    lines += [f"  {f'balance of {kind}':<24}{balance:>20,.2f}" for kind, balance in report.balances.items()]
    lines += [f"  {'rules checked':<24}{report.rules:>20}", ""]
    for rule, rows in report.faults.items():
        more = f" (the first {ledger_verification.SHOWN} of more)" if len(rows) > ledger_verification.SHOWN else ""
        lines += [f"FAULT: {messages.ledger_rule_text(rule)}{more}"]
        lines += [*(f"  {row}" for row in rows[: ledger_verification.SHOWN]), ""]
    lines.append("Ledger verification passed." if report.is_sound else "Ledger verification FAILED.")
    return "\n".join(lines)


def as_dict(report: Report) -> dict[str, object]:
    """Return a report for JSON; amounts are strings, as everywhere."""
    return {
        "is_sound": report.is_sound,
        "transfers": report.transfers,
        "turnover": f"{report.turnover:.2f}",
        "balances": {kind: f"{balance:.2f}" for kind, balance in report.balances.items()},
        "rules": report.rules,
        "faults": report.faults,
    }


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./zenzefi ledger", description="Check the ledger.")
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="verify the ledger (exit code 1 if a rule fails)")
    verify.add_argument("--json", action="store_true", help="write the report as JSON")
    verify.add_argument("--data", type=Path, default=DATA, help="the data folder of the installation")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
