"""Fixtures of the portal's tests, for attacks on the portal."""

from tests.portal.api.conftest import alices, charlies, danas, nobody, program
from tests.portal.conftest import anonymous, app, as_alice, as_charlie, as_dana, login, made_app, queued
from tests.portal.test_routes import shop

__all__ = [
    "alices",
    "anonymous",
    "app",
    "as_alice",
    "as_charlie",
    "as_dana",
    "charlies",
    "danas",
    "login",
    "made_app",
    "nobody",
    "program",
    "queued",
    "shop",
]
