"""Make an installation ready to run: migrate, make the first admin, issue a demo token. Prints one line of JSON."""

import json
import logging
import sys
from typing import Any

import flask_migrate
from flask import Flask
from sqlalchemy.exc import OperationalError

from models import config, database
from models.services import tokens, users
from models.services.context import PLATFORM
from models.services.errors import DomainError
from portal import create_app
from portal.extensions import db


def migrating_app(settings: config.Settings | None = None) -> Flask:
    """Return the portal with Flask-Migrate's commands: `flask --app ops.prepare:migrating_app db migrate`."""
    app = create_app(settings)
    flask_migrate.Migrate(app, db, directory=str(config.DEFAULT_FILE.parent / "migrations"))
    return app


def migrate(settings: config.Settings) -> None:
    """Bring the database to the newest revision."""
    with migrating_app(settings).app_context():
        flask_migrate.upgrade()
        db.engine.dispose()


def people(settings: config.Settings) -> dict[str, Any]:
    """Make the first admin unless there is one, and a fresh demo token outside production; returns what was made."""
    engine = database.connect(settings.database)
    with database.sessions(engine).begin() as session:
        admin, created = users.first_superuser(session), False
        if admin is None:
            password = settings.admin.password
            if password is None:
                raise config.ConfigError("admin.password: is required while there is no admin")
            admin = users.create_first_admin(session, email=settings.admin.email, password=password.get_secret_value())
            created = True
        demo = None
        if not settings.platform.is_production:
            demo = tokens.issue_demo(session, admin, settings=settings, actor=PLATFORM)
        return {"admin_email": admin.email, "admin_created": created, "demo_token": demo}


def main() -> int:
    """Do it all; what is wrong is one sentence on standard error and exit code 1."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        settings = config.load()
        migrate(settings)
        made = people(settings)
    except (config.ConfigError, DomainError) as error:
        print(error, file=sys.stderr)
        return 1
    except OperationalError as error:
        print(f"The database does not answer: {error.orig}", file=sys.stderr)
        return 1
    print(json.dumps(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
