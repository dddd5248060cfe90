"""A portal whose mail arrives: the jobs run on the test's own transaction, and a mail server keeps what they send."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from flask import Flask
from sqlalchemy import Connection
from sqlalchemy.orm import sessionmaker

from jobs import context, email_links, mail
from models.config.settings import Settings
from models.services.settings.overrides import CachedSettings
from tests.jobs import fake_smtp_server
from tests.jobs.fake_smtp_server import Letter, Sink


class Mailbox:
    """Everybody's mail."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    def arrived(self, *, welcomes: bool = False) -> list[Letter]:
        """Let the jobs run, and return to whom what came: address, subject and text of each new mail.

        The fixtures' people are all being welcomed, which is seldom what a test is about.
        """
        email_links.send_links()
        mail.send_pending()
        came = self.sink.letters()
        self.sink.envelopes.clear()
        return [mail for mail in came if welcomes or not mail.subject.startswith("Welcome")]

    def link(self, subject: str) -> str:
        """Return the path of the link in the one mail with this subject that has come."""
        [text] = [text for _to, its, text in self.arrived() if its == subject]
        found = re.search(r"https?://[^/\s]+(/links/\S+)", text)
        assert found is not None, text
        return found[1]


@contextmanager
def running(
    app: Flask, settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Mailbox]:
    """Configure SMTP for the portal and the jobs of a test."""
    with fake_smtp_server.running() as sink:
        smtp = {"smtp_host": "127.0.0.1", "smtp_port": sink.port, "smtp_starttls": False}
        changed = settings.model_copy(update={"mail": settings.mail.model_copy(update=smtp)})
        maker = sessionmaker(connection, join_transaction_mode="create_savepoint", expire_on_commit=False)
        monkeypatch.setitem(app.extensions, "zenzefi", changed)
        monkeypatch.setitem(app.extensions, "zenzefi-runtime", CachedSettings(changed))
        monkeypatch.setattr(context, "settings", lambda: changed)
        monkeypatch.setattr(context, "sessions", lambda: maker)
        monkeypatch.setattr(context, "count", lambda _results: None)
        yield Mailbox(sink)
