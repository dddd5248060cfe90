"""Prepare an installation: migrate, create the first admin, issue a demo token. Prints one line of JSON."""

import json
import logging
import subprocess
import sys
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from models import database
from models.config import settings as config
from models.services import messages
from models.services.accounts import roles
from models.services.actor import OPERATOR
from models.services.errors import DomainError, InvalidInput
from models.services.tokens import purchase as token_purchase
from ops import schema_revision
from ops.console import Failure
from ops.servers import poolers


def create_first_users(settings: config.Settings, engine: Engine) -> dict[str, Any]:
    """Create the first admin if there is none, and a new demo token outside production; returns both."""
    with database.sessions(engine).begin() as session:
        admin, created = roles.first_admin(session), False
        if admin is None:
            password = settings.admin.password
            if password is None:
                raise config.ConfigError("admin.password: is required while there is no admin")
            try:
                email, secret = settings.admin.email, password.get_secret_value()
                admin = roles.create_first_admin(session, email=email, password=secret)
            except InvalidInput as error:
                raise config.ConfigError(f"admin.{error.field}: {messages.error_text(error)}") from None
            created = True
        demo = None
        if not settings.platform.is_production:
            demo = token_purchase.issue_demo(session, admin, settings=settings, actor=OPERATOR)
        return {"admin_email": admin.email, "admin_created": created, "demo_token": demo}


def main() -> int:
    """Run all steps; errors are one line on standard error and exit code 1."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        settings = config.load_settings()
        poolers.require_session_pooling(settings.database)
        engine = database.connect(settings.database)
        if not schema_revision.is_newest(engine):
            subprocess.run([sys.executable, "-m", "ops.commands.migrate"], check=True)
        made = create_first_users(settings, engine)
    except (config.ConfigError, DomainError, Failure) as error:
        print(error, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError:
        print("The migration failed; the database is at the last complete revision.", file=sys.stderr)
        return 1
    except OperationalError as error:
        print(f"The database does not answer: {error.orig}", file=sys.stderr)
        return 1
    print(json.dumps(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
