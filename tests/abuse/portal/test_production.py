"""The portal as in production: gunicorn on a socket, behind a reverse proxy that ends TLS.

docs/spec/invariants.md#27-csrf-foreign-resources-admin-routes
docs/spec/invariants.md#28-account-enumeration
docs/spec/invariants.md#29-secrets-at-rest-and-in-logs
docs/spec/invariants.md#32-redirects-and-forged-headers
"""

import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import quote_plus

import pytest
from redis import Redis
from sqlalchemy import select, text

from models import database
from models.audit import AuditEntry
from models.config import settings as config
from models.config.settings import Settings
from models.database import Sessions
from models.email_links import EmailLink, LinkPurpose
from models.outbox import OutboxMail
from models.services.accounts import email_links
from models.services.actor import PLATFORM
from models.services.ledger import adjustments
from models.users import User
from tests.abuse.portal.servers import HOST, Answer, Running, Visitor, production
from tests.abuse.shop import every_row
from tests.conftest import PASSWORD
from tests.factories import person

EVIL = "evil.example"
PAIRS = 10


@dataclass
class Scene:
    """A portal, its database, and alice, who has 100 ZNC."""

    portal: Running
    settings: Settings
    factory: Sessions
    alice: User
    visitors: Iterator[Visitor]

    @property
    def own_settings(self) -> Settings:
        """Settings with the portal's public name."""
        return self.settings.model_copy(
            update={"portal": self.settings.portal.model_copy(update={"public_url": f"https://{HOST}"})}
        )

    def visitor(self) -> Visitor:
        """Return a browser without cookies."""
        return next(self.visitors)

    def link(self, purpose: LinkPurpose, email: str) -> str:
        """Run the mail job, and return the secret of the newest link."""
        with self.factory.begin() as session:
            while email_links.send_requested(session):
                pass
            wanted = (EmailLink.purpose == purpose, EmailLink.email == email)
            link_id = session.scalars(select(EmailLink.id).where(*wanted)).one()
        return email_links.secret_of(self.settings, link_id)

    def rows(self) -> str:
        """Return the whole database as text."""
        with self.factory() as session:
            return "\n".join(row for rows in every_row(session).values() for row in rows)


@pytest.fixture(scope="module")
def scene(
    make_database: Callable[[], str], environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """One portal for all tests of this module."""
    found = {**environment, "DATABASE_URL": make_database()}
    settings = config.load_settings(found)
    engine = database.connect(settings.database)
    factory = database.sessions(engine)
    connection = Redis.from_url(environment["REDIS_URL"])
    connection.flushall()
    connection.close()
    alice = person(factory, "alice", balance="100")
    # Nobody listens there: what waits in the outbox is looked at by the tests.
    mail = {"MAIL__SMTP_HOST": "127.0.0.1", "MAIL__SMTP_PORT": "9"}
    with production(found, tmp_path_factory.mktemp("portal") / "log", **mail) as portal:
        addresses = (f"203.0.{number // 250}.{number % 250 + 1}" for number in range(5000))
        yield Scene(portal, settings, factory, alice, (portal.visitor(address) for address in addresses))
    engine.dispose()


def test_27_a_form_sent_from_another_site_is_rejected(scene: Scene) -> None:
    """The other site can send alice's cookies, but neither her CSRF token nor a valid Referer."""
    alice = scene.visitor()
    assert alice.log_in(scene.alice.email).status == 303
    fields = {"email": "mallory@evil.example", "current_password": PASSWORD}
    foreign: tuple[dict[str, str | None], ...] = (
        {"Referer": f"https://{EVIL}/"},
        {"Referer": None},
        {"Referer": f"http://{HOST}/"},
        {"Referer": f"https://{HOST}.{EVIL}/"},
        {"Content-Type": "text/plain"},
    )
    for headers in foreign:
        answer = alice.post("/profile/email", headers, **fields)
        assert (headers, answer.status) == (headers, 400)
    for token in ("", "x", alice.token[:-1]):
        assert alice.post("/profile/email", csrf_token=token, **fields).status == 400
    assert "mallory" not in scene.rows()
    assert alice.post("/profile/email", **fields).status == 303


@pytest.mark.parametrize("way", ["login", "register", "forgot-password"])
def test_28_response_times_do_not_reveal_whether_an_address_has_an_account(scene: Scene, way: str) -> None:
    """Requests for known and unknown addresses alternate, so that other load on the machine slows both alike.

    They can be told apart when each of the one kind takes longer than all of the other. Without a difference that
    happens by chance in one run of 90,000, whatever the times are like.
    """
    took: dict[str, list[float]] = {"known": [], "unknown": []}
    shown: dict[str, set[tuple[int, str, str]]] = {"known": set(), "unknown": set()}
    for number in range(PAIRS + 2):
        for whose in ("known", "unknown") if number % 2 else ("unknown", "known"):
            name = uuid.uuid4().hex
            visitor = scene.visitor()
            visitor.renew_token()
            # Registering creates an account. Failed logins are counted by address, with or without an account.
            free = f"{name}@example.test" if way == "register" else "free@example.test"
            email = scene.alice.email if whose == "known" else free
            fields = {"email": email, "username": name[:20], "password": "a password of nobody's"}
            begun = time.perf_counter()
            answer = visitor.post(f"/{way}", **fields)
            if number >= 2:  # the first ones wait for connections and templates
                took[whose].append(time.perf_counter() - begun)
            alert = re.search(r'<\w+ class="alert[^>]*>(.*?)</', answer.text, re.DOTALL)
            shown[whose].add((answer.status, answer.location, alert[1] if alert else ""))
    assert shown["known"] == shown["unknown"]
    known, unknown = took["known"], took["unknown"]
    assert max(known) > min(unknown), took
    assert max(unknown) > min(known), took


def test_29_passwords_secrets_and_tokens_are_in_no_log_url_error_page_or_database(
    scene: Scene,
) -> None:
    name = f"erin{uuid.uuid4().hex[:8]}"
    email, typed = f"{name}@example.test", [f"{word} {uuid.uuid4().hex}" for word in ("first", "second", "wrong")]
    first, second, wrong = typed
    visitor = scene.visitor()
    pages: list[Answer] = []

    def keep(answer: Answer, status: int) -> Answer:
        assert answer.status == status, answer.text[:2000]
        pages.append(answer)
        return answer

    keep(visitor.post("/register", email=email, username=name, password=first), 303)
    confirm = scene.link(LinkPurpose.CONFIRM_EMAIL, email)
    keep(visitor.get(f"/links/{confirm}"), 302)
    keep(visitor.post("/confirm-email"), 303)
    keep(visitor.post("/login", email=email, password=wrong), 401)
    keep(visitor.post("/forgot-password", email=email), 303)
    reset = scene.link(LinkPurpose.RESET_PASSWORD, email)
    assert keep(visitor.get(f"/links/{reset}"), 302).headers["Referrer-Policy"] == "no-referrer"
    keep(visitor.post("/reset-password", new_password=second, repeated=wrong), 400)
    keep(visitor.post("/reset-password", new_password=second, repeated=second), 303)
    visitor.renew_token()
    keep(visitor.log_in(email, second), 303)
    with scene.factory.begin() as session:
        erin = session.scalars(select(User).where(User.email == email)).one()
        adjustments.adjust(session, erin, amount=Decimal(10), reason="test money", actor=PLATFORM)
    found = {"confirm": confirm, "reset": reset, "cookie": visitor.cookies["__Host-zenzefi"]}
    called = json.loads(keep(visitor.call("POST", "/auth/login", {"email": email, "password": second}), 200).text)
    found["jwt"] = called["access_token"]
    buying = {"duration_hours": 1, "scope": "full", "name": "Laptop"}
    bought = visitor.call("POST", "/tokens/purchase", buying, Authorization=f"Bearer {found['jwt']}")
    found["token"] = json.loads(bought.text)["token"]
    key = visitor.post("/profile/keys", key_id=str(uuid.uuid4()), name="Script", scope="read", days="90")
    found["key"] = re.findall(r"zk_[\w-]{64}", key.text)[0]
    hook = visitor.post("/webhooks", endpoint_id=str(uuid.uuid4()), url="https://example.org/hook", topic="bonus")
    found["webhook"] = re.findall(r"whsec_[\w+/=]+", hook.text)[0]
    setup = visitor.post("/profile/two-factor/begin", current_password=second)
    [shown] = re.findall(r'data-testid="totp-secret"[^>]*>([A-Z2-7 ]+)<', visitor.get(setup.location).text)
    found["two factor"] = shown.replace(" ", "")

    # A fault of our own, while a password is under way: the database lacks a table.
    with broken(scene, "audit_entries"):
        keep(visitor.post("/profile/password", current_password=second, new_password=first, repeated=first), 500)
        keep(visitor.call("POST", "/auth/login", {"email": email, "password": first}), 500)
    keep(visitor.get("/nothing/here"), 404)
    keep(visitor.get("/dashboard"), 200)

    log, rows = scene.portal.log.read_text(), scene.rows()
    assert "UndefinedTable" in log
    for word in typed:
        assert word not in rows
        assert word not in log
        assert quote_plus(word) not in log
        assert [page for page in pages if word in page.text] == []
    for what, secret in found.items():
        assert (what, secret in rows, secret.encode().hex() in rows) == (what, False, False)
        # A mailed link is good once and for an hour; its address is what somebody clicked on.
        addresses = re.sub(r'"GET /links/\S+ ', "", log)
        assert (what, secret in addresses) == (what, False)
        assert (what, [page.location for page in pages if secret in page.location]) == (what, [])


@contextmanager
def broken(scene: Scene, table: str) -> Iterator[None]:
    """Rename a table for the duration of the block."""
    for old, new in ((table, f"{table}_gone"), (f"{table}_gone", table)):
        with scene.factory.begin() as session:
            session.execute(text(f'ALTER TABLE "{old}" RENAME TO "{new}"'))
        if old == table:
            yield


HOSTS = [
    EVIL,
    f"{HOST}.{EVIL}",
    f"{HOST}@{EVIL}",
    f"{EVIL}#{HOST}",
    f"{HOST},{EVIL}",
    "127.0.0.1",
    "",
    f"{HOST} {EVIL}",
]


@pytest.mark.parametrize("host", HOSTS)
def test_32_a_foreign_host_header_is_rejected_and_never_echoed(scene: Scene, host: str) -> None:
    visitor = scene.visitor()
    visitor.renew_token()
    for answer in (
        visitor.get("/", Host=host),
        visitor.get("/dashboard", Host=host, X_Forwarded_Host=HOST),
        visitor.post("/forgot-password", {"Host": host, "Referer": f"https://{host}/"}, email=scene.alice.email),
    ):
        assert answer.status == 400
        assert EVIL not in answer.text + str(answer.headers)


def test_32_host_names_sent_by_a_client_reach_no_page_redirect_or_mail(scene: Scene) -> None:
    visitor = scene.visitor()
    visitor.renew_token()
    tricks: dict[str, str | None] = {
        "X-Forwarded-Host": EVIL,
        "X-Forwarded-Server": EVIL,
        "X-Forwarded-Prefix": f"//{EVIL}",
        "X-Original-URL": f"https://{EVIL}/",
        "X-Rewrite-URL": f"https://{EVIL}/",
        "X-Host": EVIL,
        "Forwarded": f"host={EVIL};proto=http",
    }
    for path in ("/", "/dashboard", "/register", "/wallet", "/bundles?x=1", "/health", "/openapi.json", "/nothing"):
        answer = visitor.ask("GET", path, headers=tricks)
        assert EVIL not in answer.text + str(answer.headers)
    bob = person(scene.factory, f"bob{uuid.uuid4().hex[:8]}")
    assert visitor.post("/forgot-password", tricks, email=bob.email).status == 303
    with scene.factory.begin() as session:
        while email_links.send_requested(session):
            pass
        [mail] = session.scalars(select(OutboxMail).where(OutboxMail.user_id == bob.id, OutboxMail.kind != "welcome"))
        assert email_links.with_link_url(mail.context, scene.own_settings)["link"].startswith(f"https://{HOST}/links/")


@pytest.mark.parametrize(
    "raw",
    [
        f"GET http://{EVIL}/dashboard HTTP/1.1\r\nHost: {EVIL}\r\n",
        f"GET http://{EVIL}/dashboard HTTP/1.1\r\nHost: {HOST}\r\n",
        f"GET /dashboard HTTP/1.1\r\nHost: {HOST}\r\nHost: {EVIL}\r\n",
        f"GET //{EVIL}/%2e%2e HTTP/1.1\r\nHost: {HOST}\r\n",
        f"GET /\\{EVIL}/ HTTP/1.1\r\nHost: {HOST}\r\n",
        "GET /dashboard HTTP/1.0\r\n",
    ],
)
def test_32_no_spelling_of_a_request_redirects_to_another_site(scene: Scene, raw: str) -> None:
    answer = scene.portal.send(f"{raw}X-Forwarded-Proto: https\r\nConnection: close\r\n\r\n".encode()).decode()
    locations = re.findall(r"(?im)^location: *(.*?)\r$", answer)
    assert [location for location in locations if not location.startswith("/login?next=/")] == []
    assert f"//{EVIL}" not in "".join(locations)


def test_32_a_forged_forwarded_address_does_not_evade_login_limits(scene: Scene) -> None:
    """The proxy appends the true address; values that the client sent before it are ignored."""
    address = scene.visitor().address
    codes = []
    for number in range(7):
        visitor = scene.portal.visitor(f"198.51.100.{number}, 10.0.0.{number}, {address}")
        codes.append(visitor.post("/login", email="nobody@example.test", password="x").status)
    assert codes == [401] * 5 + [429] * 2
    # Nor does it close one for somebody else.
    assert scene.portal.visitor("198.51.100.1").post("/login", email="n@example.test", password="x").status == 401
    with scene.factory() as session:
        addresses = session.scalars(select(AuditEntry.ip_address).order_by(AuditEntry.id.desc()).limit(6)).all()
    assert set(addresses) == {address, "198.51.100.1"}


def test_32_a_forged_forwarded_address_is_not_in_the_ops_network(scene: Scene) -> None:
    for forged in ("127.0.0.1", "127.0.0.1, 203.0.113.9", "::1, 203.0.113.9"):
        visitor = scene.portal.visitor(f"{forged}, 203.0.113.10")
        assert visitor.get("/metrics").status in {403, 404}
        assert visitor.get("/health/detailed").status in {302, 403, 404}
