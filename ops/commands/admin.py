"""`./zenzefi admin`: account recovery from the command line: new password, two-factor login off, e-mail confirmed."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from models import database
from models.audit import AuditAction
from models.services.accounts import email_flows, two_factor, users
from models.services.actor import OPERATOR
from models.users import User
from ops.console import Failure, print_error, print_line
from ops.launcher.installation import DATA, connected_installation
from ops.processes.secret_files import readable_password


def reset_password(session: Session, user: User) -> str:
    """Set a new password, which ends all logins of the user."""
    fresh = readable_password()
    users.set_password(session, user, fresh, actor=OPERATOR, action=AuditAction.USER_PASSWORD_RESET)
    return f"The new password of {user.email}, shown this once: {fresh}"


def reset_two_factor(session: Session, user: User) -> str:
    """Turn two-factor login off."""
    two_factor.reset(session, user.id, reason="Reset at the machine", actor=OPERATOR)
    return f"Two-factor login of {user.email} is off."


def confirm_email(session: Session, user: User) -> str:
    """Mark the e-mail address as confirmed."""
    email_flows.mark_confirmed(session, user, OPERATOR)
    return f"{user.email} is confirmed now."


COMMANDS: Mapping[str, tuple[Callable[[Session, User], str], str]] = {
    "password": (reset_password, "set a new password and print it"),
    "two-factor": (reset_two_factor, "turn two-factor login off after a lost phone"),
    "confirm": (confirm_email, "mark the e-mail address as confirmed"),
}


def main(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> int:
    """Run the command; returns the exit code."""
    options = _parse(arguments)
    act, _about = COMMANDS[options.command]
    try:
        with connected_installation(options.data, environ=environ) as settings:
            engine = database.connect(settings.database)
            with database.sessions(engine).begin() as session:
                user = users.by_email(session, options.email)
                if user is None:
                    raise Failure(f"There is no account with the address {options.email}.")
                print_line(act(session, user))
            engine.dispose()
    except Failure as failure:
        print_error(str(failure))
        return 1
    except (OperationalError, ProgrammingError) as error:
        print_error(f"The database cannot be used: {str(error.orig).strip().splitlines()[0]}")
        return 1
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./zenzefi admin", description="Recover an account.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (_act, about) in COMMANDS.items():
        command = commands.add_parser(name, help=about)
        command.add_argument("email", help="the e-mail address of the account")
        command.add_argument("--data", type=Path, default=DATA, help="the data folder of the installation")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
