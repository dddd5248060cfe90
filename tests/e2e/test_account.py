"""Account pages in both languages: mailed links, two-factor login, logins, data export, webhooks, API keys."""

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyotp
import pytest
from playwright.sync_api import Browser, Page, expect

from models.translations import catalogue
from tests.e2e.conftest import Shop, start_shop, stop_shop, visitor
from tests.e2e.steps import PASSWORD, balance, log_in, log_out, register, register_and_log_in, tab_to, top_up
from tests.jobs import fake_smtp_server, fake_webhook_receiver
from tests.jobs.fake_smtp_server import Sink

# The usual run uses one language: Russian here, English in the admin area. The long run uses both.
SOAK = bool(os.environ.get("ZENZEFI_SOAK"))
LOCALES = {"en": "en-GB", "ru": "ru-RU"}
ANOTHER, THIRD = "another long password", "and a third long password"

Visitors = Callable[[], AbstractContextManager[Page]]


@dataclass(frozen=True)
class Say:
    """Translates messages into the visitor's language."""

    language: str

    def __call__(self, words: str) -> str:
        return str(catalogue(self.language).gettext(words))


@pytest.fixture(params=LOCALES if SOAK else ["ru"])
def say(request: pytest.FixtureRequest) -> Say:
    return Say(str(request.param))


@pytest.fixture
def another(browser: Browser, say: Say) -> Visitors:
    """Open another browser in this language."""
    return partial(visitor, browser, LOCALES[say.language])


@pytest.fixture
def page(another: Visitors) -> Iterator[Page]:
    with another() as page:
        yield page


@pytest.fixture(scope="module")
def post() -> Iterator[Sink]:
    with fake_smtp_server.running() as sink:
        yield sink


@pytest.fixture(scope="module")
def mailing(tmp_path_factory: pytest.TempPathFactory, post: Sink) -> Iterator[Shop]:
    """A platform with a mail server, where addresses are confirmed and webhooks to this machine are allowed."""
    extra = {
        "ZENZEFI_MAIL__SMTP_HOST": "127.0.0.1",
        "ZENZEFI_MAIL__SMTP_PORT": str(post.port),
        "ZENZEFI_MAIL__SMTP_STARTTLS": "false",
        "ZENZEFI_WEBHOOKS__ALLOW_PRIVATE": "true",
        "ZENZEFI_LIMITS__AUTH_PER_HOUR": "1000",
        "ZENZEFI_LIMITS__AUTH_PER_ADDRESS": "1000",
        "ZENZEFI_LIMITS__REGISTRATIONS_PER_HOUR": "1000",
    }
    shop = start_shop(tmp_path_factory.mktemp("mailing"), extra=extra)
    yield shop
    stop_shop(shop)


def mailed(post: Sink, email: str, subject: str) -> str:
    """Wait for a mail and return its text."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for letter in post.letters():
            if (letter.to, letter.subject) == (email, subject):
                return letter.text
        time.sleep(0.05)
    raise AssertionError(f"no mail “{subject}” for {email}: {[(each.to, each.subject) for each in post.letters()]}")


def follow(page: Page, post: Sink, email: str, subject: str) -> None:
    """Wait for a mail and open its link."""
    found = re.search(r"https?://\S+/links/\S+", mailed(post, email, subject))
    assert found is not None
    page.goto(found[0])


def says(page: Page, words: str) -> None:
    """Expect a message on the page."""
    expect(page.locator(".alert:visible, .field-error:visible").filter(has_text=words)).to_have_count(1)


def press(page: Page, label: str) -> None:
    page.locator("main").get_by_role("button", name=label, exact=True).click()


def try_password(page: Page, shop: Shop, email: str, password: str) -> None:
    page.goto(f"{shop.portal}/login")
    page.fill("input[name=email]", email)
    page.fill("input[name=password]", password)
    page.click("main form button")


def give_code(page: Page, code: str) -> None:
    page.wait_for_url("**/login/code*")
    page.fill("input[name=code]", code)
    page.click("main form button")


def join(page: Page, shop: Shop, post: Sink, name: str, say: Say) -> str:
    """Create an account, confirm its address, log in, and return the address."""
    email = register(page, shop, name)
    follow(page, post, email, say("Confirm your e-mail address"))
    press(page, say("Confirm"))
    says(page, say("Your address is confirmed. You can sign in now."))
    log_in(page, shop, email, PASSWORD)
    return email


def ask_for_link(page: Page, shop: Shop, email: str, say: Say) -> None:
    """Request a link for a forgotten password."""
    page.goto(f"{shop.portal}/login")
    page.get_by_role("link", name=say("Forgot your password?")).click()
    page.fill("input[name=email]", email)
    press(page, say("Send link"))
    says(page, say("If this address has an account, we have sent a link to it. The link is valid for one hour."))


def is_logged_out(page: Page, shop: Shop) -> bool:
    page.goto(f"{shop.portal}/profile")
    return "/login?" in page.url


def test_a_new_user_confirms_the_address_by_mail_and_resets_a_forgotten_password(
    page: Page, mailing: Shop, post: Sink, say: Say
) -> None:
    refused = say("Incorrect e-mail address or password, or the address is not confirmed yet.")
    email = register(page, mailing, f"forgetful-{say.language}")
    expect(page.locator("html")).to_have_attribute("lang", say.language)
    says(page, say("Check your e-mail for the next step, also if this address already had an account."))
    try_password(page, mailing, email, PASSWORD)
    says(page, refused)

    follow(page, post, email, say("Confirm your e-mail address"))
    # The link's secret is out of the address at once.
    assert page.url.endswith("/confirm-email")
    expect(page.locator("main")).to_contain_text(email)
    press(page, say("Confirm"))
    says(page, say("Your address is confirmed. You can sign in now."))
    log_in(page, mailing, email, PASSWORD)
    log_out(page)

    ask_for_link(page, mailing, email, say)
    follow(page, post, email, say("Set a new password"))
    page.fill("input[name=new_password]", ANOTHER)
    page.fill("input[name=repeated]", THIRD)
    press(page, say("Set password"))
    says(page, say("The passwords do not match."))
    page.fill("input[name=new_password]", ANOTHER)
    page.fill("input[name=repeated]", ANOTHER)
    press(page, say("Set password"))
    says(page, say("Your new password has been set. Sign in with it."))

    # The link was good once, and the old password is gone.
    follow(page, post, email, say("Set a new password"))
    expect(page.get_by_role("heading", name=say("This link has expired."))).to_be_visible()
    try_password(page, mailing, email, PASSWORD)
    says(page, refused)
    log_in(page, mailing, email, ANOTHER)


def test_a_user_changes_password_and_address(
    page: Page, another: Visitors, mailing: Shop, post: Sink, say: Say
) -> None:
    old = join(page, mailing, post, f"moving-{say.language}", say)
    new = f"moved-{say.language}@example.test"
    with another() as elsewhere:
        log_in(elsewhere, mailing, old, PASSWORD)

        page.goto(f"{mailing.portal}/profile")
        for current in (ANOTHER, PASSWORD):
            page.fill("input[name=current_password]", current)
            page.fill("input[name=new_password]", ANOTHER)
            page.fill("input[name=repeated]", ANOTHER)
            press(page, say("Change password"))
            right = current == PASSWORD
            says(
                page,
                say("Your password has been changed. All other login sessions have ended.")
                if right
                else say("The current password is incorrect."),
            )
        assert is_logged_out(elsewhere, mailing)

    page.goto(f"{mailing.portal}/profile")
    page.get_by_role("link", name=say("Change e-mail address")).click()
    page.fill("input[name=email]", new)
    page.fill("input[name=current_password]", ANOTHER)
    press(page, say("Send link"))
    says(page, say("We have sent a link to the new address. The old one stays in use until you follow the link."))
    expect(page.locator("main .facts")).to_contain_text(old)
    follow(page, post, new, say("Confirm your new address"))
    press(page, say("Confirm"))
    says(page, say("Your new address is confirmed."))
    expect(page.locator("main .facts")).to_contain_text(new)
    log_out(page)
    try_password(page, mailing, old, ANOTHER)
    says(page, say("Incorrect e-mail address or password, or the address is not confirmed yet."))
    log_in(page, mailing, new, ANOTHER)
    log_out(page)
    ask_for_link(page, mailing, new, say)
    follow(page, post, new, say("Set a new password"))
    mailed(post, old, say("Your password was changed"))
    assert new in mailed(post, old, say("Your e-mail address was changed"))


def test_two_factor_login_accepts_a_code_or_recovery_code_and_logins_can_be_ended(
    page: Page, another: Visitors, shop: Shop, say: Say
) -> None:
    wrong = say("This code is incorrect or already used.")
    email = register_and_log_in(page, shop, f"careful-{say.language}")
    page.goto(f"{shop.portal}/profile/two-factor")
    page.fill("input[name=current_password]", PASSWORD)
    press(page, say("Continue"))
    expect(page.get_by_test_id("qr").locator("svg")).to_be_visible()
    app = pyotp.TOTP(page.get_by_test_id("totp-secret").inner_text().replace(" ", ""))
    page.fill("input[name=code]", app.now())
    press(page, say("Turn on"))
    says(page, say("Two-factor authentication is on."))
    recovery = page.get_by_test_id("recovery-codes").inner_text().split()[0]
    page.get_by_role("link", name=say("I have saved them")).click()
    expect(page.locator("main")).not_to_contain_text(recovery)

    with another() as elsewhere:
        try_password(elsewhere, shop, email, PASSWORD)
        assert is_logged_out(elsewhere, shop)
        elsewhere.goto(f"{shop.portal}/login/code")
        # A code ahead of the one that was used up above; clocks may be so far apart.
        for code in ("000000", app.at(int(time.time()) + 30)):
            give_code(elsewhere, code)
            if code == "000000":
                says(elsewhere, wrong)
        elsewhere.wait_for_url("**/dashboard")

        page.goto(f"{shop.portal}/profile/logins")
        others = page.locator("tr[data-login]").filter(has_not=page.locator(".pill-good"))
        expect(others).to_have_count(1)
        others.get_by_role("button", name=say("End login session")).click()
        says(page, say("The login session has ended."))
        expect(others).to_have_count(0)
        assert is_logged_out(elsewhere, shop)

        try_password(elsewhere, shop, email, PASSWORD)
        give_code(elsewhere, recovery)
        elsewhere.wait_for_url("**/dashboard")
        page.goto(f"{shop.portal}/profile/logins")
        press(page, say("All sessions, including this one"))
        says(page, say("You have signed out."))
        assert is_logged_out(page, shop)
        assert is_logged_out(elsewhere, shop)

    try_password(page, shop, email, PASSWORD)
    give_code(page, recovery)
    says(page, wrong)


def test_a_user_exports_their_data_and_deletes_their_account(page: Page, shop: Shop, say: Say) -> None:
    email = register_and_log_in(page, shop, f"leaving-{say.language}")
    top_up(page, shop, "5")
    page.goto(f"{shop.portal}/profile")
    for _time in ("first", "again"):
        with page.expect_download() as caught:
            press(page, say("Download my data"))
    assert re.fullmatch(r"zenzefi-\d{4}-\d\d-\d\d\.json", caught.value.suggested_filename)
    taken: dict[str, Any] = json.loads(caught.value.path().read_text())
    assert email in json.dumps(taken)
    assert [payment["status"] for payment in taken["payments"]] == ["succeeded"]

    page.get_by_role("link", name=say("Delete my account permanently")).click()
    lapses = page.locator(".facts > div").filter(has_text=say("Forfeited from your wallet"))
    expect(lapses.locator(".money")).to_have_text(re.compile(r"^5[.,]00\sZNC$"))
    page.fill("input[name=current_password]", ANOTHER)
    press(page, say("Delete account"))
    says(page, say("The current password is incorrect."))
    page.fill("input[name=current_password]", PASSWORD)
    press(page, say("Delete account"))
    says(page, say("Your account has been deleted."))
    assert is_logged_out(page, shop)
    try_password(page, shop, email, PASSWORD)
    says(page, say("Incorrect e-mail address or password."))


def add_webhook(page: Page, shop: Shop, url: str, say: Say) -> None:
    page.goto(f"{shop.portal}/webhooks")
    page.fill("input[name=url]", url)
    press(page, say("Add webhook"))


def test_a_webhook_shows_its_secret_once_and_receives_a_test_event(
    page: Page, mailing: Shop, post: Sink, say: Say
) -> None:
    join(page, mailing, post, f"hooked-{say.language}", say)
    with fake_webhook_receiver.running() as receiver:
        add_webhook(page, mailing, "ftp://example.org/hook", say)
        says(page, say("Enter an address such as https://example.org/hook."))
        add_webhook(page, mailing, receiver.url(), say)
        expect(page.locator("main")).to_contain_text(say("Shown only once"))
        secret = page.get_by_test_id("webhook-secret").inner_text().strip()
        page.click(".mainnav a >> nth=0")
        expect(page.locator("[data-unsaved]")).to_have_text(
            say("You have not copied the secret. It will not be shown again.")
        )
        page.click("a[data-saved]")
        expect(page.locator("[data-saved]")).to_have_count(0)
        page.wait_for_url(re.compile(r"/webhooks/[0-9a-f-]{36}$"))
        assert secret not in page.content()
        expect(page.locator("main")).to_contain_text(say("No events sent yet."))

        press(page, say("Send test event"))
        says(page, say("A test event has been queued. Its result will appear in the list below."))
        expect(page.locator("tr[data-delivery][data-state=delivered]")).to_have_count(1)
        expect(page.locator("#deliveries")).not_to_have_attribute("data-refresh", re.compile(""))
        expect(page.locator("tr[data-delivery]")).to_contain_text("200")
        page.get_by_text(say("Response details")).click()
        expect(page.locator("tr[data-delivery] pre")).to_have_text("fine")
        assert receiver.paths == ["/hook"]

    page.get_by_role("link", name=say("Delete webhook")).click()
    press(page, say("Delete webhook"))
    says(page, say("Webhook deleted."))
    expect(page.locator("main")).to_contain_text(
        say("No webhooks yet. Add one to have your program notified of events.")
    )


def test_a_webhook_to_a_private_network_is_rejected_and_an_api_key_is_shown_once(
    page: Page, shop: Shop, say: Say
) -> None:
    register_and_log_in(page, shop, f"scripted-{say.language}")
    add_webhook(page, shop, "http://127.0.0.1:8080/hook", say)
    says(page, say("This address points to a private network."))

    page.goto(f"{shop.portal}/profile/keys")
    page.fill("input[name=name]", "nightly")
    press(page, say("Create key"))
    key = page.get_by_test_id("api-key").inner_text().strip()
    page.click(".mainnav a >> nth=0")
    expect(page.locator("[data-unsaved]")).to_have_text(say("You have not copied the key. It will not be shown again."))
    expect(page.locator("[data-copy=secret]")).to_be_focused()
    page.click("a[data-saved]")
    expect(page.locator("[data-saved]")).to_have_count(0)
    page.wait_for_url("**/profile/keys")
    assert key not in page.content()
    answer = page.request.get(f"{shop.portal}/api/v1/currency/balance", headers={"X-API-Key": key})
    assert answer.status == 200
    # "Back" from the page after a secret must not end in ERR_CACHE_MISS: the answer to a form is kept nowhere.
    page.go_back()
    expect(page.get_by_role("heading", name=say("API keys"))).to_be_visible()
    page.goto(f"{shop.portal}/profile/keys")
    expect(page.locator("tr[data-key]")).to_have_count(1)
    page.get_by_role("link", name=say("Revoke")).click()
    press(page, say("Revoke key"))
    expect(page.locator("tr[data-key]")).to_contain_text(say("ended"))


def test_a_buyer_gets_from_registration_to_the_secret_by_keyboard_alone(page: Page, shop: Shop, say: Say) -> None:
    def type_in(*values: str) -> None:
        for number, value in enumerate(values):
            if number:
                page.keyboard.press("Tab")
            page.keyboard.type(value)
        page.keyboard.press("Enter")

    name = f"typist-{say.language}"
    page.goto(f"{shop.portal}/register")
    expect(page.locator("input[name=email]")).to_be_focused()
    type_in(f"{name}@example.test", name, PASSWORD)
    page.wait_for_url("**/login*")
    expect(page.locator("input[name=email]")).to_be_focused()
    type_in(f"{name}@example.test", PASSWORD)
    page.wait_for_url("**/dashboard")
    tab_to(page, "main a[href$='#top-up']")
    page.keyboard.press("Enter")
    page.wait_for_url("**/wallet#top-up")
    tab_to(page, "input[name=amount]")
    page.keyboard.press("Control+A")
    page.keyboard.type("20")
    page.keyboard.press("Enter")
    page.wait_for_url("**/mock-checkout/*")
    tab_to(page, "button[name=outcome][value=pay]")
    page.keyboard.press("Enter")
    expect(page.locator("#payment")).to_have_attribute("data-status", "succeeded", timeout=20_000)

    tab_to(page, "a[href^='/tokens/buy']")
    page.keyboard.press("Enter")
    page.wait_for_url("**/tokens/buy*")
    tab_to(page, "[name=duration_hours]")
    page.keyboard.press("ArrowLeft")
    tab_to(page, "form[data-buy] button.button-main")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=say("Your new token"))).to_be_visible()
    secret = page.get_by_test_id("secret").inner_text().strip()
    assert re.fullmatch(r"[A-Za-z0-9_-]{64}", secret)
    tab_to(page, "a[data-saved]")
    page.keyboard.press("Enter")
    expect(page.locator("[data-saved]")).to_have_count(0)
    page.wait_for_url(re.compile(r"/tokens/[0-9a-f-]{36}$"))
    assert secret not in page.content()
    assert balance(page, shop) == 10
