"""Rename and rotate tokens: the previous secret works for a grace period, the one before it no more."""

from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken
from models.audit import AuditAction
from models.browser_access import AccessCookie, AccessTicket
from models.config.settings import Settings
from models.services.actor import PLATFORM, Actor
from models.services.crypto import secrets
from models.services.errors import AlreadyRotated, InvalidInput, NotFound, TokenEnded
from models.services.gateway import token_lookup
from models.services.tokens import browser_access, revocation, rotation
from models.services.tokens import purchase as token_purchase
from models.users import User
from tests.conftest import Clock
from tests.factories import actions


@pytest.fixture
def sold(session: Session, alice: User, settings: Settings, time: Clock) -> tuple[AccessToken, str]:
    """An unused token of alice's, with its secret."""
    facts = {"hours": 24, "scope": "full", "name": "Laptop", "settings": settings, "actor": PLATFORM}
    return token_purchase.purchase(session, alice, **facts)  # type: ignore[arg-type]


def works(session: Session, settings: Settings, secret: str) -> bool:
    return token_lookup.find(session, secrets.hash_of(settings.tokens, secret)) is not None


def rotate(session: Session, owner: User, token: AccessToken, settings: Settings, **more: Any) -> str:
    grace = more.pop("grace", settings.tokens.rotate_grace_seconds)
    changed = settings.model_copy(update={"tokens": settings.tokens.model_copy(update={"rotate_grace_seconds": grace})})
    return rotation.rotate(session, owner, token.id, settings=changed, actor=Actor(owner.id), **more)[1]


def test_the_new_secret_works_at_once_and_the_old_one_until_its_grace_period_ends(
    *, session: Session, alice: User, settings: Settings, sold: tuple[AccessToken, str], time: Clock
) -> None:
    token, old = sold
    new = rotate(session, alice, token, settings)
    assert token.prefix == new[:8]
    time.advance(seconds=599, milliseconds=999)
    assert works(session, settings, new)
    former = token_lookup.find(session, secrets.hash_of(settings.tokens, old))
    assert former is not None
    assert (former.generation, former.secret_until) == (1, token.previous_until)
    time.advance(milliseconds=1)
    assert not works(session, settings, old)
    assert works(session, settings, new)
    assert actions(session, alice)[-1] is AuditAction.TOKEN_ROTATED


def test_a_second_rotation_ends_the_first_old_secret_at_once(
    session: Session, alice: User, settings: Settings, sold: tuple[AccessToken, str]
) -> None:
    token, first = sold
    second = rotate(session, alice, token, settings)
    third = rotate(session, alice, token, settings)
    assert [works(session, settings, secret) for secret in (first, second, third)] == [False, True, True]


def test_without_a_grace_period_the_old_secret_ends_at_once(
    session: Session, alice: User, settings: Settings, sold: tuple[AccessToken, str]
) -> None:
    token, old = sold
    new = rotate(session, alice, token, settings, grace=0)
    assert [works(session, settings, secret) for secret in (old, new)] == [False, True]
    assert token.previous_until is None


def test_a_form_sent_twice_rotates_once(
    session: Session, alice: User, settings: Settings, sold: tuple[AccessToken, str]
) -> None:
    token, old = sold
    new = rotate(session, alice, token, settings, seen=1)
    with pytest.raises(AlreadyRotated):
        rotate(session, alice, token, settings, seen=1)
    assert [works(session, settings, secret) for secret in (old, new)] == [True, True]


def test_only_the_owner_rotates_and_only_before_the_end(
    *, session: Session, alice: User, bob: User, settings: Settings, sold: tuple[AccessToken, str]
) -> None:
    token, _ = sold
    with pytest.raises(NotFound):
        rotate(session, bob, token, settings)
    with pytest.raises(NotFound):
        rotation.rename(session, bob, token.id, name="Mine", actor=PLATFORM)
    revocation.revoke(session, alice, token.id, settings=settings, actor=PLATFORM)
    with pytest.raises(TokenEnded):
        rotate(session, alice, token, settings)


def test_tickets_and_cookies_end_with_the_secret(
    session: Session, alice: User, settings: Settings, sold: tuple[AccessToken, str]
) -> None:
    token, _ = sold
    facts = {"settings": settings, "actor": PLATFORM}
    for _ in range(2):
        ticket = browser_access.issue_ticket(session, alice, token.id, **facts)  # type: ignore[arg-type]
    ticket_hash = secrets.hash_of(settings.tokens, ticket, secrets.Purpose.TICKET)
    cookie = browser_access.redeem(session, ticket_hash, **facts).secret  # type: ignore[arg-type]
    cookie_hash = secrets.hash_of(settings.tokens, cookie, secrets.Purpose.COOKIE)
    assert browser_access.find_by_cookie(session, cookie_hash) is not None
    rotate(session, alice, token, settings)
    assert browser_access.find_by_cookie(session, cookie_hash) is None
    assert session.scalars(select(AccessTicket)).all() == []
    assert session.scalars(select(AccessCookie.ended_at)).one() is not None


def test_a_token_is_renamed_even_when_it_has_ended(
    session: Session, alice: User, settings: Settings, sold: tuple[AccessToken, str]
) -> None:
    token, _ = sold
    version = token.version
    rotation.rename(session, alice, token.id, name="  Workshop ", actor=Actor(alice.id))
    rotation.rename(session, alice, token.id, name="Workshop", actor=Actor(alice.id))
    assert (token.name, token.version) == ("Workshop", version)
    assert actions(session, alice).count(AuditAction.TOKEN_RENAMED) == 1
    revocation.revoke(session, alice, token.id, settings=settings, actor=PLATFORM)
    assert rotation.rename(session, alice, token.id, name="", actor=Actor(alice.id)).name == ""
    for name in ("x" * 51, "two\nlines", "nul\0"):
        with pytest.raises(InvalidInput):
            rotation.rename(session, alice, token.id, name=name, actor=Actor(alice.id))


def test_the_old_secret_can_be_ended_early_and_at_the_rotation(
    *, session: Session, alice: User, bob: User, settings: Settings, sold: tuple[AccessToken, str]
) -> None:
    """An owner whose secret has leaked must not have to wait for the end of the grace period."""
    token, first = sold
    second = rotate(session, alice, token, settings)
    assert works(session, settings, first)
    with pytest.raises(NotFound):
        rotation.end_previous(session, bob, token.id, actor=PLATFORM)
    version = token.version
    assert rotation.end_previous(session, alice, token.id, actor=Actor(alice.id))
    session.refresh(token)
    assert token.version == version + 1
    assert not works(session, settings, first)
    assert works(session, settings, second)
    assert not rotation.end_previous(session, alice, token.id, actor=Actor(alice.id))
    assert actions(session, alice).count(AuditAction.TOKEN_SECRET_ENDED) == 1
    third = rotate(session, alice, token, settings, at_once=True)
    assert not works(session, settings, second)
    assert works(session, settings, third)
