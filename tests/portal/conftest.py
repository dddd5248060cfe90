"""The portal on the test's own transaction, and browsers for alice, bob, charlie and dana."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import Connection
from sqlalchemy.orm import scoped_session, sessionmaker
from werkzeug.test import TestResponse

from models.config.settings import Settings
from models.users import User
from portal import create_app
from portal.extensions import db
from portal.request import context
from tests.conftest import PASSWORD

Jobs = list[tuple[str, ...]]


class Browser:
    """A client that fills the CSRF token in, as a browser does by sending the form it was shown."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def get(self, path: str, **more: Any) -> TestResponse:
        return _with_joined_lines(self.client.get(path, **more))

    def post(self, path: str, **fields: Any) -> TestResponse:
        return _with_joined_lines(self.client.post(path, data={"csrf_token": self.csrf_token(), **fields}))

    def csrf_token(self) -> str:
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.client.get("/").text)
        assert found is not None
        return found[1]

    def log_in(self, user: User, password: str = PASSWORD) -> TestResponse:
        return self.post("/login", email=user.email, password=password)

    def session_cookie(self) -> str:
        cookie = self.client.get_cookie("zenzefi")
        return cookie.value if cookie else ""

    def flashes(self, path: str = "/profile") -> str:
        """Return what the next page says first."""
        return text_of(self.get(path), "flashes")


def _with_joined_lines(response: TestResponse) -> TestResponse:
    """Join the lines of a page, so that tests do not depend on where a template is wrapped."""
    if response.mimetype == "text/html":
        response.set_data(re.sub(r"\s*\n\s*", " ", response.get_data(as_text=True)))
    return response


def text_of(response: TestResponse, css_class: str) -> str:
    """Return the text of the first element with a class, without tags."""
    found = re.search(rf'<(\w+) class="{css_class}[^>]*>(.*?)</\1>', response.text, re.DOTALL)
    return re.sub(r"<[^>]+>|\s+", " ", found[2]).strip() if found else ""


def attribute(response: TestResponse, testid: str, name: str) -> str:
    """Return an attribute of the element with a data-testid."""
    found = re.search(rf'<[^>]*data-testid="{testid}"[^>]*>', response.text)
    assert found is not None, f"no {testid} on the page"
    value = re.search(rf'{name}="([^"]*)"', found[0])
    assert value is not None
    return value[1]


@pytest.fixture(scope="session")
def made_app(settings: Settings) -> Flask:
    return create_app(settings)


@pytest.fixture
def app(
    made_app: Flask,
    connection: Connection,
    redis: Redis,
    queued: Jobs,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Flask]:
    """The app, whose commits are savepoints in the test's transaction."""
    maker = sessionmaker(connection, join_transaction_mode="create_savepoint", expire_on_commit=False)
    monkeypatch.setattr(db, "session", scoped_session(maker))
    made_app.extensions["zenzefi-runtime"].forget()
    made_app.extensions["zenzefi-board"].forget()
    yield made_app
    db.session.remove()


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> Jobs:
    """The jobs that were asked for."""
    jobs: Jobs = []
    monkeypatch.setattr(context, "enqueue", lambda *job: jobs.append(job))
    return jobs


@pytest.fixture
def anonymous(app: Flask) -> Browser:
    return Browser(app.test_client())


@pytest.fixture
def login(app: Flask) -> Callable[[User], Browser]:
    """A function that opens a browser and logs somebody in."""

    def open_browser(user: User) -> Browser:
        browser = Browser(app.test_client())
        assert browser.log_in(user).status_code == 303
        return browser

    return open_browser


@pytest.fixture
def as_alice(alice: User, login: Callable[[User], Browser]) -> Browser:
    return login(alice)


@pytest.fixture
def as_charlie(charlie: User, login: Callable[[User], Browser]) -> Browser:
    return login(charlie)


@pytest.fixture
def as_dana(dana: User, login: Callable[[User], Browser]) -> Browser:
    return login(dana)
