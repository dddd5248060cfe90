"""Migrate the database to the newest revision: `python -m ops.commands.migrate`.

A separate module, because Flask-Migrate imports the whole portal, which a start without pending migrations avoids.
"""

import logging
import sys

import flask_migrate
from flask import Flask

from models.config import settings as config
from ops.schema_revision import FOLDER
from portal import create_app
from portal.extensions import db


def migrating_app(settings: config.Settings | None = None) -> Flask:
    """Return the portal with Flask-Migrate's commands: `flask --app ops.commands.migrate:migrating_app db migrate`."""
    app = create_app(settings)
    flask_migrate.Migrate(app, db, directory=str(FOLDER))
    return app


def migrate(settings: config.Settings) -> None:
    """Migrate the database to the newest revision; concurrent migrations wait for each other."""
    with migrating_app(settings).app_context():
        flask_migrate.upgrade()
        db.engine.dispose()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    migrate(config.load_settings())
