"""Programs that call the API for alice, bob, charlie and dana."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from models.config.settings import Settings
from models.logins import LoginKind
from models.services.accounts import logins
from models.services.actor import Actor
from models.users import User
from portal.api import login_tokens

API = "/api/v1"


class Program:
    """A program that sends the same headers with each request and never a cookie."""

    def __init__(self, client: FlaskClient, **headers: str) -> None:
        self.client = client
        self.headers = headers

    def get(self, path: str, **query: Any) -> TestResponse:
        return self.client.get(f"{API}{path}", query_string=query, headers=self.headers)

    def post(self, path: str, json: Any = None, **headers: str) -> TestResponse:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(f"{API}{path}", json={} if json is None else json, headers={**self.headers, **sent})

    def patch(self, path: str, json: Any) -> TestResponse:
        return self.client.patch(f"{API}{path}", json=json, headers=self.headers)

    def delete(self, path: str, **query: Any) -> TestResponse:
        return self.client.delete(f"{API}{path}", query_string=query, headers=self.headers)


def told(answer: TestResponse, status: int) -> Any:
    """Return what a reply says, once its status is as expected."""
    assert (answer.status_code, answer.text[:300] if answer.status_code != status else "") == (status, "")
    assert status < 400 or (answer.json and answer.json["code"]), "every error has a code for programs"
    return answer.json


@pytest.fixture
def program(app: Flask, session: Session, settings: Settings) -> Callable[[User], Program]:
    """A function that logs somebody's program in."""

    def make(user: User) -> Program:
        login = logins.begin(session, user, kind=LoginKind.API, lifetime=login_tokens.LIFETIME, actor=Actor(user.id))
        session.commit()
        return Program(app.test_client(), Authorization=f"Bearer {login_tokens.issue(settings.portal, user, login)}")

    return make


@pytest.fixture
def nobody(app: Flask) -> Program:
    """A program without credentials."""
    return Program(app.test_client())


@pytest.fixture
def alices(alice: User, program: Callable[[User], Program]) -> Program:
    return program(alice)


@pytest.fixture
def charlies(charlie: User, program: Callable[[User], Program]) -> Program:
    return program(charlie)


@pytest.fixture
def danas(dana: User, program: Callable[[User], Program]) -> Program:
    return program(dana)
