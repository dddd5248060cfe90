"""Sample data for screenshots, created by the platform's services in a scratch database."""

import uuid
from datetime import timedelta
from decimal import Decimal

import pyotp
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from models import clock
from models.api_keys import KeyScope
from models.bundles import Bundle
from models.config.settings import Settings
from models.email_links import EmailLink, LinkPurpose
from models.inspections import InspectionTarget
from models.notification_preferences import Topic
from models.outages import Outage
from models.outbox import OutboxMail
from models.payments import MockCheckout, Payment
from models.proxy_sessions import ProxySession
from models.services.accounts import api_keys, email_links, roles, two_factor, users
from models.services.actor import Actor
from models.services.gateway import inspections
from models.services.ledger import adjustments, transfers
from models.services.notifications import preferences as notification_preferences
from models.services.payments import refunds
from models.services.promotions import coupons, gift_codes
from models.services.tokens import bundles, extension, outage_credit, renewal, revocation
from models.services.tokens import pause as token_pause
from models.services.webhooks import deliveries
from models.services.webhooks import endpoints as webhook_endpoints
from models.users import User
from models.webhooks import DeliveryError, WebhookDelivery
from ops.dev.screenshots import fake_telemetry
from ops.dev.screenshots.actors import BUYER, LAPTOP, PASSWORD, TO_TRY, SampleActions, SampleShop
from ops.dev.screenshots.backdating import Backdating
from portal.request import error_pages


def make(past: Backdating, settings: Settings) -> SampleShop:
    """Fill the database; returns the URL arguments to visit."""
    making = SampleActions(past, settings)
    admin = making.person(420, "dana", is_superuser=True)
    alice = making.person(96, "alice", full_name="Alice Keller")
    making.person(0, "nina", full_name="")
    making.person(200, "victor", is_superuser=True)
    _two_factor_user(making)
    _offers(making, admin, alice)
    _payments(making, admin, alice)
    _tokens(making, alice)
    _others(making, admin, alice)
    fake_telemetry.make(making, admin, alice)
    _notifications(making, alice)
    _inspections(making, admin)
    _ids(making, alice)
    return making.shop


def _two_factor_user(making: SampleActions) -> None:
    greta, settings = making.person(150, "greta"), making.settings
    with making.past.ago(0) as session:
        greta = session.merge(greta)
        two_factor.begin(session, greta, password=PASSWORD, settings=settings)
        code = pyotp.TOTP(two_factor.waiting_secret(session, greta, settings) or "").now()
        making.shop.codes += two_factor.confirm(session, greta, code, settings=settings, actor=making.actor(greta))


def _offers(making: SampleActions, admin: User, alice: User) -> None:
    with making.past.ago(40) as session:
        boss = Actor(admin.id, "192.0.2.10", LAPTOP)
        for code, percent, amount in (("SPRING", 10, None), ("WELCOME5", None, 5)):
            made = coupons.create(
                session, code=code, percent=Decimal(percent) if percent else None,
                amount=Decimal(amount) if amount else None, uses_in_all=100, uses_per_user=1,
                valid_until=clock.now() + timedelta(days=90), actor=boss,
            )  # fmt: skip
            making.shop.add("coupon_id", code.lower(), made.id)
        codes = gift_codes.create(
            session, amount=Decimal(25), count=4, uses_each=1, valid_until=clock.now() + timedelta(days=200),
            note="Trade fair in Stuttgart", settings=making.settings, actor=boss,
        )  # fmt: skip
    with making.past.ago(33) as session:
        gift_codes.redeem(session, alice, codes[0], settings=making.settings, actor=making.actor(alice))


def _inspections(making: SampleActions, admin: User) -> None:
    shown = (
        (6, InspectionTarget.EVERYTHING, "", 15, "Slow hour, all of it", True),
        (0.2, InspectionTarget.PATH, "/certificates/export/", 60, "Exports that end early", False),
        (0.01, InspectionTarget.USER, "alice", 30, "Ticket 4711: 403 at noon", False),
    )
    boss, rules = Actor(admin.id, "192.0.2.10", LAPTOP), making.settings.inspection
    for days, target, name, minutes, reason, is_ended in shown:
        with making.past.ago(days) as session:
            made = inspections.start(
                session, target=target, name=name, minutes=minutes, reason=reason, rules=rules, actor=boss
            )
            if is_ended:
                inspections.end(session, made.id, actor=boss)


def _payments(making: SampleActions, admin: User, alice: User) -> None:
    paid = [making.top_up(days, alice, amount) for days, amount in ((95, "50"), (61, "150"), (34, "300"), (12, "100"))]
    making.shop.add("payment_id", "succeeded", making.top_up(3, alice, "40.50"))
    making.shop.add("payment_id", "canceled", making.top_up(20, alice, "500", "canceled"))
    making.shop.add("payment_id", "pending", making.top_up(0.01, alice, "75", None))
    with making.past.ago(8) as session:
        adjustments.adjust(session, alice, amount=Decimal("7.50"), reason="Sorry for the slow hour on Tuesday",
                           actor=Actor(admin.id, "192.0.2.10", LAPTOP))  # fmt: skip
    with making.past.ago(6) as session:
        payment = session.get_one(Payment, paid[-1])
        refunds.request(session, payment.id, amount_rub=Decimal(100), reason="As agreed by mail", key=uuid.uuid4(),
                          actor=Actor(admin.id, "192.0.2.10", LAPTOP))  # fmt: skip
    for days in range(60, 30, -2):
        spent = making.buy(days, alice, 1, f"job {days}", coupon="SPRING" if days == 36 else "")
        making.use(days - 0.05, spent, minutes=50, requests=making.chance.randint(20, 900))


def _tokens(making: SampleActions, alice: User) -> None:
    shop, past, settings = making.shop, making.past, making.settings
    running = making.buy(13, alice, 720, "Workshop laptop")

    def use_on(*days: int) -> None:
        for day in days:
            minutes, requests = making.chance.randint(20, 400), making.chance.randint(40, 4000)
            making.use(day + 0.3, running, minutes=minutes, requests=requests)

    # In order of time: a token's last use never moves back.
    use_on(*range(12, 5, -1))
    with past.ago(5.5) as session:
        token_pause.pause(session, alice, running.id, settings=settings, actor=making.actor(alice))
    with past.ago(4.6) as session:
        token_pause.resume(session, alice, running.id, settings=settings, actor=making.actor(alice))
        outage = Outage(opened_at=clock.now() + timedelta(hours=40), last_failed_at=clock.now() + timedelta(hours=41),
                        closed_at=clock.now() + timedelta(hours=41))  # fmt: skip
        session.add(outage)
    use_on(4, 3)
    with past.ago(2.5) as session:
        outage_credit.credit(session, outage.id, settings, limit=500)
    use_on(2)
    with past.ago(2) as session:
        extension.extend(session, alice, running.id, hours=168, key=uuid.uuid4(), settings=settings,
                         actor=making.actor(alice))  # fmt: skip
        renewal.set_auto_renew(session, alice, running.id, on=True, settings=settings, actor=making.actor(alice))
    use_on(1)
    shop.add("session_id", "open", making.use(0.02, running, minutes=29, requests=1284, ended=False))
    script = making.buy(0.9, alice, 24, "Nightly export", scope="certificates_only")
    making.use(0.93 - 0.07, script, minutes=25, requests=310)
    ready = making.buy(2, alice, 12, "Spare for the fair")
    paused = making.buy(3, alice, 168, "")
    making.use(2.9, paused, minutes=300, requests=5120)
    with past.ago(1) as session:
        token_pause.pause(session, alice, paused.id, settings=settings, actor=making.actor(alice))
    expired = making.buy(9, alice, 24, TO_TRY)
    making.use(8.9, expired, minutes=600, requests=88)
    revoked = making.buy(7, alice, 24, "Bought by mistake")
    with past.ago(6.9) as session:
        revocation.revoke(session, alice, revoked.id, settings=settings, actor=making.actor(alice))
    states = {"running": running, "ready": ready, "paused": paused, "expired": expired, "revoked": revoked}
    for label, token in {**states, "narrow": script}.items():
        shop.add("token_id", label, token.id)


def _others(making: SampleActions, admin: User, alice: User) -> None:
    code = alice.referral_code
    for number in range(30):
        days = making.chance.uniform(1, 60)
        name = f"{making.chance.choice(('erik', 'olga', 'pavel', 'marta', 'jonas', 'vera'))}{number}"
        person = making.person(days, name, referral_code=code if number < 4 else "")
        if making.chance.random() < 0.8:
            making.top_up(days - 0.1, person, "350" if number < 4 else str(making.chance.choice((20, 50, 120))))
            hours = 720 if number < 3 else making.chance.choice((1, 12, 24))
            token = making.buy(days - 0.2, person, hours, "")
            if hours != 1:
                making.use(days - 0.3, token, minutes=making.chance.randint(1, 200), requests=250)
    with making.past.ago(1) as session:
        vera = session.scalars(select(User).where(User.email.like("vera%")).limit(1)).first() or alice
        roles.set_active(session, vera.id, active=vera is alice, actor=Actor(admin.id, "192.0.2.10", LAPTOP))
    with making.past.ago(4) as session:
        starter = session.scalars(select(Bundle).where(Bundle.name == "Starter")).one()
        bundles.purchase(session, alice, starter.id, purchase_id=uuid.uuid4(), settings=making.settings,
                         actor=making.actor(alice))  # fmt: skip
    for days in (5.0, 0.4):
        with making.past.ago(days) as session:
            users.record_failed_login(session, email=BUYER, actor=making.actor(None))


def _notifications(making: SampleActions, alice: User) -> None:
    """Create webhooks that work and fail, and mails that are sent, pending and failed."""
    shop, settings = making.shop, making.settings
    with making.past.ago(9) as session:
        made = [
            webhook_endpoints.create(
                session, alice, uuid.uuid4(), url=url, topics=list(Topic)[:count], settings=settings,
                actor=making.actor(alice),
            )
            for url, count in (("https://hooks.example.org/zenzefi", 8), ("https://old.example.net:8443/notify", 2))
        ]  # fmt: skip
        works, fails = (one[0] for one in made if one is not None)
        webhook_endpoints.set_enabled(session, fails, on=False, actor=making.actor(alice))
    answers = [(200, "ok", None), (500, TO_TRY, None), (None, None, DeliveryError.TIMEOUT), (200, "", None)]
    for number, (kind, days) in enumerate((("payment", 3), ("balance_low", 2.6), ("renewed", 2), ("bonus", 0.6))):
        status, answer, error = answers[number]
        with making.past.ago(days) as session:
            moment = clock.now()
            delivery = WebhookDelivery(
                endpoint_id=works.id, kind=kind, data={"amount_znc": "40.50"}, dedup_key=str(number), created_at=moment,
                attempts=1 if status == 200 else 8, attempted_at=moment, milliseconds=making.chance.randint(20, 900),
                status=status, answer=answer, error=error, delivered_at=moment if status == 200 else None,
                dead_at=None if status == 200 else moment,
            )  # fmt: skip
            session.add(delivery)
    with making.past.ago(0) as session:
        deliveries.enqueue_test(session, session.merge(works))
        mails = session.scalars(select(OutboxMail).order_by(OutboxMail.created_at)).all()
        for mail in mails[:-3]:
            mail.sent_at, mail.attempts = mail.created_at, 1
        mails[-1].failed_at, mails[-1].attempts, mails[-1].last_error = clock.now(), 8, "550 no such mailbox"
        shop.add("mail_id", "failed", mails[-1].id)
    signed = notification_preferences.unsubscribe_path(settings.portal, alice.id, "bonus") or ""
    for argument, value in (("signed", signed.rpartition("/")[2]), ("kind", "renewal_ahead"), ("lang", "ru")):
        shop.add(argument, "usual", value)
    shop.add("endpoint_id", "works", works.id)
    with making.past.ago(8) as session:
        facts = {"name": "Nightly export", "scope": KeyScope.READ, "days": 90, "settings": settings}
        key, _secret = api_keys.create(session, alice, **facts, actor=making.actor(alice))  # type: ignore[arg-type]
    shop.add("key_id", "open", key.id)


def _ids(making: SampleActions, alice: User) -> None:
    """Add the remaining URL arguments."""
    shop = making.shop
    unconfirmed = making.person(0.1, "irina", confirm=True)
    with making.past.ago(0) as session:
        shop.add("user_id", "alice", alice.id)
        shop.add("bundle_id", "starter", _first(session, Bundle.id))
        shop.add("checkout_id", "pending", _checkout(session))
        shop.add("transfer_id", "newest", _newest_transfer(session, alice))
        shop.add("key", "maintenance", "maintenance.on")
        for purpose, email in (
            (LinkPurpose.RESET_PASSWORD, BUYER),
            (LinkPurpose.CONFIRM_EMAIL, unconfirmed.email),
            (LinkPurpose.SIGN_IN, BUYER),
        ):
            shop.add("secret", purpose.value, _mailed_secret(session, purpose, email, making.settings))
        for status in error_pages.PAGES:
            shop.add("status", str(status), status)
        shop.add("month", "this", f"{clock.now():%Y-%m}")
        # The ledger's times come from the services; only sessions that never ended may look stale.
        session.execute(update(ProxySession).where(ProxySession.ended_at.is_(None)).values(last_activity=func.now()))


def _first(session: Session, column: object) -> object:
    return session.scalars(select(column).limit(1)).one()  # type: ignore[call-overload]  # any mapped column


def _mailed_secret(session: Session, purpose: LinkPurpose, email: str, settings: Settings) -> str:
    email_links.request_link(session, purpose, email, settings=settings, actor=Actor())
    email_links.send_requested(session)
    asked = session.scalars(select(EmailLink.id).where(EmailLink.purpose == purpose)).one()
    return email_links.secret_of(settings, asked)


def _checkout(session: Session) -> uuid.UUID:
    return session.scalars(select(MockCheckout.id).where(MockCheckout.outcome.is_(None)).limit(1)).one()


def _newest_transfer(session: Session, user: User) -> uuid.UUID:
    return transfers.transactions(session, transfers.wallet_of(session, user.id), limit=1, offset=0).items[0].id
