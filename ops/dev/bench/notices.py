"""Measure mails and webhooks sent in a second to loopback receivers: `python -m ops.dev.bench.notices`.

Servers, database, mail server and receiver are started in a temporary folder and gone afterwards. What is measured is
the jobs' own code in one process: claim, write or sign, send, mark.
"""

import argparse
import os
import socketserver
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from jobs import context, mail, webhooks
from models.notification_preferences import Topic
from models.services.accounts import users
from models.services.actor import PLATFORM
from models.services.notifications import outbox
from models.services.notifications import preferences as notification_preferences
from models.services.webhooks import endpoints
from models.users import User
from ops.commands import migrate
from ops.console import Step, print_line
from ops.dev.bench.environment import start_servers
from ops.processes.ports import LOOPBACK

USERS = 20


class _MailServer(socketserver.StreamRequestHandler):
    """Takes every mail and keeps none."""

    def handle(self) -> None:
        self.wfile.write(b"220 sink\r\n")
        while line := self.rfile.readline():
            match line[:4].upper():
                case b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    while self.rfile.readline() not in {b".\r\n", b""}:
                        pass
                    self.wfile.write(b"250 fine\r\n")
                case b"QUIT":
                    self.wfile.write(b"221 bye\r\n")
                    return
                case _:
                    self.wfile.write(b"250 fine\r\n")


class _Receiver(socketserver.StreamRequestHandler):
    """Answers every POST with 200."""

    def handle(self) -> None:
        length = 0
        while (line := self.rfile.readline()) not in {b"\r\n", b""}:
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        self.rfile.read(length)
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


@contextmanager
def _serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    with _Server((LOOPBACK, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def main(arguments: Sequence[str]) -> int:
    """Measure and print one line for each way."""
    parser = argparse.ArgumentParser(prog="python -m ops.dev.bench.notices", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="how many of each")
    count = parser.parse_args(arguments).count
    with start_servers() as under, _serving(_MailServer) as smtp, _serving(_Receiver) as http:
        os.environ.clear()
        os.environ.update(
            under.environment,
            ZENZEFI_MAIL__SMTP_HOST=LOOPBACK,
            ZENZEFI_MAIL__SMTP_PORT=str(smtp),
            ZENZEFI_MAIL__SMTP_SECURITY="none",
            ZENZEFI_WEBHOOKS__ALLOW_PRIVATE="true",
        )
        with Step("Database and users"):
            migrate.migrate(context.settings())
            people = _people(http)
        mail.send_pending()
        _tell("mails", count, people, "welcome", mail.send_pending)
        _tell("webhooks", count, people, "bonus", webhooks.send_pending)
    return 0


def _people(port: int) -> list[User]:
    """Make users with a webhook each, which want no mails of what is sent there."""
    made = []
    with context.sessions().begin() as session:
        for number in range(USERS):
            name = f"user{number}"
            user = users.register(
                session, email=f"{name}@example.test", username=name, password=uuid.uuid4().hex, actor=PLATFORM
            )
            notification_preferences.choose(session, user, Topic.BONUS, mail=False)
            endpoints.create(
                session,
                user,
                uuid.uuid4(),
                url=f"http://{LOOPBACK}:{port}/hook",
                topics=[Topic.BONUS],
                settings=context.settings(),
                actor=PLATFORM,
            )
            made.append(user)
    return made


def _tell(name: str, count: int, people: Sequence[User], kind: str, send: Callable[[], int]) -> None:
    """Write so many notices, and let the job send them."""
    began = time.perf_counter()
    with context.sessions().begin() as session:
        for number in range(count):
            user = people[number % len(people)]
            outbox.enqueue_mail(
                session, kind, user, dedup_key=f"bench:{number}", username=user.username, amount_znc="5.00"
            )
    written = time.perf_counter()
    sent = 0
    while sent < count and (left := send()):
        sent += left
    ended = time.perf_counter()
    rates = f"{count / (written - began):,.0f}/s written, {sent / (ended - written):,.0f}/s sent"
    print_line(f"{name}: {rates} ({sent} of {count})")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
