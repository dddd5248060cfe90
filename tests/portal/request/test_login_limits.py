"""Login limits: failures per account and address, growing delays, and no lock-out of an account's owner."""

import random
from collections.abc import Callable, Iterator, Sequence

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from models.config.settings import Settings
from models.users import User
from portal import create_app
from portal.request.failed_attempts import FIRST_WAIT_SECONDS, WINDOW_SECONDS, FailedAttempts, Limit, _InMemory
from tests.conftest import PASSWORD, Clock
from tests.factories import race
from tests.portal import mail_helpers
from tests.portal.conftest import Browser
from tests.portal.mail_helpers import Mailbox
from tests.portal.views.account.test_two_factor import set_up

WRONG = "a wrong password"
NEW = {"email": "erin@example.test", "username": "erin", "password": PASSWORD}


@pytest.fixture
def at(app: Flask) -> Callable[[str], Browser]:
    """A function that opens a fresh browser at an IP address."""

    def open_browser(address: str) -> Browser:
        client = app.test_client()
        client.environ_base["REMOTE_ADDR"] = address
        return Browser(client)

    return open_browser


def guess(browser: Browser, email: str, times: int = 1) -> list[int]:
    """Try wrong passwords and return the status codes."""
    return [browser.post("/login", email=email, password=WRONG).status_code for _ in range(times)]


@pytest.mark.parametrize("email", ["alice@example.test", "nobody@example.test"])
def test_guesses_at_one_account_from_many_addresses_are_limited(
    at: Callable[[str], Browser], alice: User, email: str
) -> None:
    codes = [guess(at(f"203.0.113.{number}"), email)[0] for number in range(8)]
    assert codes == [401] * 5 + [429] * 3


def test_the_right_password_passes_while_others_fail_on_the_account(at: Callable[[str], Browser], alice: User) -> None:
    for number in range(12):
        guess(at(f"203.0.113.{number}"), alice.email, 6)
    assert at("198.51.100.1").log_in(alice).status_code == 303


def test_a_browser_that_was_used_before_is_counted_by_itself(at: Callable[[str], Browser], alice: User) -> None:
    shared_address = "198.51.100.1"
    own = at(shared_address)
    own.log_in(alice)
    own.post("/logout")
    # Other browsers behind the same address fail on this account and on others.
    assert guess(at(shared_address), alice.email, 7) == [401] * 5 + [429] * 2
    for number in range(35):
        guess(at(shared_address), f"colleague{number}@example.test")
    assert guess(at(shared_address), "one-more@example.test") == [429]
    assert own.log_in(alice).status_code == 303


def test_the_right_password_passes_at_an_address_where_others_fail_on_other_accounts(
    at: Callable[[str], Browser], alice: User
) -> None:
    shared_address = "198.51.100.1"
    for number in range(35):
        guess(at(shared_address), f"colleague{number}@example.test")
    assert at(shared_address).log_in(alice).status_code == 303


def test_no_password_is_checked_for_an_address_far_above_its_limit(
    settings: Settings, app: Flask, alice: User, session: Session
) -> None:
    """Each check computes an Argon2 hash, so the number of checks must be bounded."""
    session.commit()
    limits = settings.limits.model_copy(update={"auth_per_address": 2})
    client = create_app(settings.model_copy(update={"limits": limits})).test_client()
    codes = [guess(Browser(client), f"user{number}@example.test")[0] for number in range(20)]
    assert codes == [401] * 2 + [429] * 18
    assert Browser(client).log_in(alice).status_code == 429


@pytest.mark.parametrize(
    ("addresses", "elsewhere"),
    [
        (["203.0.113.7"], "203.0.113.8"),
        ([f"2001:db8:1:2::{number:x}" for number in range(1, 40)], "2001:db8:1:3::1"),
    ],
    ids=["IPv4", "an IPv6 /64"],
)
def test_an_address_fails_thirty_times_an_hour_over_all_accounts(
    at: Callable[[str], Browser], alice: User, addresses: Sequence[str], elsewhere: str
) -> None:
    codes = [guess(at(addresses[number % len(addresses)]), f"user{number}@example.test")[0] for number in range(32)]
    assert codes == [401] * 30 + [429] * 2
    assert at(elsewhere).log_in(alice).status_code == 303


def test_the_wait_doubles_with_each_further_failure_up_to_an_hour(
    at: Callable[[str], Browser], alice: User, time: Clock
) -> None:
    browser = at("203.0.113.7")
    guess(browser, alice.email, 5)
    waits = []
    for _ in range(4):
        answer = browser.log_in(alice)
        assert answer.status_code == 429
        waits.append(int(answer.headers["Retry-After"]))
        time.advance(seconds=waits[-1])
        assert guess(browser, alice.email) == [401]
    assert waits == [60, 120, 240, 480]
    time.advance(seconds=960)
    assert browser.log_in(alice).status_code == 303
    # The right password has cleared the account's count for this client.
    assert guess(at("203.0.113.7"), alice.email, 5) == [401] * 5


def test_invalid_forms_and_successful_logins_are_not_counted(at: Callable[[str], Browser], alice: User) -> None:
    browser = at("203.0.113.7")
    for _ in range(7):
        assert browser.post("/login", email=alice.email, password="").status_code == 400
        assert at("203.0.113.7").log_in(alice).status_code == 303
    assert guess(browser, alice.email, 6) == [401] * 5 + [429]


def test_five_registrations_an_hour_are_allowed_and_refused_ones_are_not_counted(
    at: Callable[[str], Browser], alice: User, time: Clock
) -> None:
    browser = at("203.0.113.7")
    for _ in range(6):
        for typo in ({"password": "short"}, {"username": "ALICE"}, {"email": "no address"}):
            assert browser.post("/register", **{**NEW, **typo}).status_code == 400
    for number in range(5):
        fields = {**NEW, "email": f"new{number}@example.test", "username": f"new{number}"}
        assert browser.post("/register", **fields).status_code == 303
    answer = browser.post("/register", **NEW)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3600")
    assert browser.log_in(alice).status_code == 303
    time.advance(hours=1)
    assert at("203.0.113.7").post("/register", **NEW).status_code == 303


def test_failures_do_not_count_as_registrations(at: Callable[[str], Browser], alice: User) -> None:
    browser = at("203.0.113.7")
    guess(browser, alice.email, 6)
    assert browser.post("/register", **NEW).status_code == 303


def test_a_taken_address_counts_as_a_completed_registration(at: Callable[[str], Browser], alice: User) -> None:
    """Otherwise the sixth attempt would reveal whether the five addresses before were taken."""
    for email in (alice.email, "free{}@example.test"):
        browser = at("203.0.113.7" if email == alice.email else "203.0.113.8")
        fields = [{"email": email.format(number), "username": f"{email[:4]}{number}"} for number in range(6)]
        codes = [browser.post("/register", **{**NEW, **each}).status_code for each in fields]
        assert codes == [303] * 5 + [429]


@pytest.mark.parametrize(("processes", "machines"), [(2, 1), (1, 2)])
def test_while_redis_is_down_each_process_enforces_its_share_of_the_limit(
    app: Flask, settings: Settings, alice: User, session: Session, *, processes: int, machines: int
) -> None:
    session.commit()
    sections = {
        "redis": settings.redis.model_copy(update={"url": "redis://127.0.0.1:1/0"}),
        "portal": settings.portal.model_copy(update={"processes": processes}),
        "platform": settings.platform.model_copy(update={"machines": machines}),
    }
    browser = Browser(create_app(settings.model_copy(update=sections)).test_client())
    assert guess(browser, alice.email, 3) == [401] * 2 + [429]


def test_guesses_at_the_same_instant_are_all_counted(settings: Settings, redis: Redis) -> None:
    counts = FailedAttempts(settings)
    begun = race(*(lambda: counts.begin([Limit("x", 5)]) for _ in range(20)))
    assert sum(not attempt.blocked_for for attempt in begun) == 5


def test_redis_holds_neither_addresses_nor_unbounded_lists(
    at: Callable[[str], Browser], alice: User, redis: Redis
) -> None:
    for number in range(40):
        guess(at(f"203.0.113.{number}"), alice.email)
    keys = list(redis.scan_iter("zenzefi:failed:*"))
    assert keys
    assert not [key for key in keys if b"alice" in key]
    assert max(int(redis.zcard(key)) for key in keys) <= 13  # type: ignore[arg-type]
    assert all(0 < int(redis.ttl(key)) <= WINDOW_SECONDS for key in keys)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(5))
def test_the_fallback_in_memory_waits_as_long_as_the_script(
    settings: Settings, redis: Redis, time: Clock, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - a history that can be repeated
    counts, memory = FailedAttempts(settings), _InMemory(1)
    limits = [Limit("a", 2), Limit("b", 3, doubles=False), Limit("c", 1, blocks=False)]
    for _ in range(60):
        time.advance(seconds=chance.choice([0, 1, FIRST_WAIT_SECONDS, 700, WINDOW_SECONDS]))
        attempt = counts.begin(limits)
        assert memory.begin(limits, attempt.member, time().timestamp()) == pytest.approx(list(attempt.waits))
        if chance.random() < 0.3:
            clear = chance.choice([[], [limits[0]]])
            counts.forgive(attempt, clear=clear)
            memory.forgive(attempt, clear)


@pytest.fixture
def post(app: Flask, settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    with mail_helpers.running(app, settings, connection, monkeypatch) as box:
        yield box


def attack(at: Callable[[str], Browser], user: User) -> None:
    """Guess from many addresses."""
    for number in range(8):
        guess(at(f"203.0.113.{number}"), user.email)


def test_a_guessed_password_gives_no_access_without_the_e_mailed_link(
    at: Callable[[str], Browser], post: Mailbox, alice: User
) -> None:
    """Guesses from many addresses succeed eventually, so a login then also needs the link in the account's e-mail."""
    at("198.51.100.7").log_in(alice)
    attack(at, alice)
    guesser = at("203.0.113.200")
    answer = guesser.log_in(alice)
    assert (answer.status_code, answer.location) == (303, "/login")
    assert guesser.get("/dashboard").status_code == 302
    owner = at("198.51.100.1")
    link = owner.get(post.link("Finish signing in")).location
    assert alice.email in owner.get(link).text
    assert owner.get("/dashboard").status_code == 302
    assert owner.post(link).location == "/dashboard"
    assert owner.get("/dashboard").status_code == 200
    owner.post("/logout")
    # This browser is known now.
    assert owner.log_in(alice).location == "/dashboard"


def test_an_address_that_failed_on_many_accounts_needs_the_e_mailed_link(
    at: Callable[[str], Browser], post: Mailbox, alice: User
) -> None:
    for number in range(35):
        guess(at("203.0.113.7"), f"user{number}@example.test")
    guesser = at("203.0.113.7")
    assert guesser.log_in(alice).location == "/login"
    assert guesser.get("/dashboard").status_code == 302
    assert post.link("Finish signing in")


def test_a_known_browser_needs_no_e_mailed_link_while_others_guess(
    at: Callable[[str], Browser], post: Mailbox, alice: User
) -> None:
    own = at("198.51.100.1")
    own.log_in(alice)
    own.post("/logout")
    attack(at, alice)
    own.client.environ_base["REMOTE_ADDR"] = "198.51.100.99"
    assert own.log_in(alice).location == "/dashboard"


def test_a_second_factor_is_proof_enough_while_others_guess(
    at: Callable[[str], Browser], post: Mailbox, as_alice: Browser, alice: User, time: Clock
) -> None:
    phone = set_up(as_alice, time)
    attack(at, alice)
    browser = at("198.51.100.1")
    assert browser.log_in(alice).location == "/login/code"
    assert browser.post("/login/code", code=phone.next_code()).location == "/dashboard"


def test_an_api_login_is_refused_until_the_e_mailed_link_is_used(
    at: Callable[[str], Browser], post: Mailbox, alice: User, session: Session
) -> None:
    attack(at, alice)
    program, owner = at("198.51.100.1").client, at("198.51.100.1")
    own = {"email": alice.email, "password": PASSWORD}
    answer = program.post("/api/v1/auth/login", json=own)
    assert (answer.status_code, answer.json and answer.json["detail"]) == (401, "proof_needed")
    link = owner.get(post.link("Finish signing in")).location
    owner.post(link)
    assert program.post("/api/v1/auth/login", json=own).status_code == 200


def test_a_link_to_finish_a_login_works_once_and_not_after_a_password_change(
    at: Callable[[str], Browser], post: Mailbox, alice: User, session: Session
) -> None:
    attack(at, alice)
    links = []
    for number in range(2):
        at(f"203.0.113.{200 + number}").log_in(alice)
        links.append(post.link("Finish signing in"))
    owner = at("198.51.100.1")
    owner.post(owner.get(links[0]).location)
    assert at("198.51.100.2").get(links[0]).status_code == 410
    fields = {"current_password": PASSWORD, "new_password": "another long one", "repeated": "another long one"}
    assert owner.post("/profile/password", **fields).status_code == 303
    assert at("198.51.100.2").get(links[1]).status_code == 410
