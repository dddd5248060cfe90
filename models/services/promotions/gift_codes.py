"""Gift codes: created by admins, shown once, redeemed by users; stored as a keyed hash."""

import secrets as random_source
import uuid
from datetime import datetime
from decimal import Decimal

from sqlalchemy import exists, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models import clock
from models.audit import AuditAction
from models.config.settings import Settings
from models.gift_codes import GiftCode, GiftRedemption
from models.ledger import AccountKind, TransferKind, TransferPurpose
from models.services import text_validation
from models.services.accounts import former_accounts
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.crypto import secrets
from models.services.crypto.secrets import Purpose
from models.services.errors import AccountDisabled, DuplicateTransfer, GiftRefused, InvalidInput, NotFound
from models.services.ledger import transfers
from models.services.ledger.money import require_amount
from models.services.pagination import ListQuery, Page
from models.users import User

# No look-alike letters. 16 of 31 letters are 79 bits: a code cannot be guessed.
LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
GROUPS, GROUP = 4, 4
AT_ONCE = 1000


def create(
    session: Session,
    *,
    amount: Decimal,
    count: int,
    uses_each: int,
    valid_until: datetime | None,
    note: str,
    settings: Settings,
    actor: Actor,
    key: uuid.UUID | None = None,
) -> list[str]:
    """Create `count` codes worth `amount` ZNC per use and return them; they are shown once.

    A form that carries its own `key` creates them once: the second time raises DuplicateTransfer. Raises InvalidInput.
    """
    amount = require_amount(amount)
    note = text_validation.one_line(note, field="note", at_least=3, at_most=200)
    require_valid_count(count)
    check_uses(uses_each)
    key = key or uuid.uuid4()
    codes = [_new_code() for _ in range(count)]
    made = [
        GiftCode(
            # Derived from the form's key and the index, so that the same form finds its codes.
            id=uuid.uuid5(key, str(index)),
            code_hash=_hash(settings, code),
            prefix=code[:GROUP],
            amount_znc=amount,
            uses_in_all=uses_each,
            valid_until=valid_until,
            note=note,
            created_by=actor.user_id,
        )
        for index, code in enumerate(codes)
    ]
    if session.get(GiftCode, made[0].id) is not None:
        raise DuplicateTransfer(f"gifts:{key}")
    try:
        with session.begin_nested():
            session.add_all(made)
            session.flush()
    except IntegrityError:
        raise DuplicateTransfer(f"gifts:{key}") from None
    facts = {"amount": str(amount), "count": count, "uses_each": uses_each, "note": note}
    audit_log.record(
        session, AuditAction.GIFTS_MADE, actor, user_id=actor.user_id, resource=("gift_code", None), **facts
    )
    return codes


def require_valid_count(count: int) -> None:
    """Raise InvalidInput for an invalid number of codes."""
    if not 1 <= count <= AT_ONCE:
        raise InvalidInput("count", "gift_count_out_of_range", count=AT_ONCE)


def check_uses(uses: int) -> None:
    """Raise InvalidInput for an invalid number of uses."""
    if not 1 <= uses <= 1_000_000:
        raise InvalidInput("uses_each", "usage_limit_too_small")


def redeem(session: Session, user: User, code: str, *, settings: Settings, actor: Actor) -> Decimal:
    """Credit a code's ZNC to the user's wallet and return the amount; each user can redeem a code once.

    Raises GiftRefused for a code that is unknown, expired, used up or already redeemed by this user; AccountDisabled.
    """
    if not user.is_active:
        raise AccountDisabled
    moment = clock.now()
    found = session.scalars(select(GiftCode).where(GiftCode.code_hash == _hash(settings, code))).one_or_none()
    if found is None:
        raise GiftRefused("unknown")
    is_theirs = GiftRedemption.user_id.in_(former_accounts.lineage(user.id))
    if session.scalar(select(exists().where(GiftRedemption.gift_code_id == found.id, is_theirs))):
        raise GiftRefused("taken")
    # The user's own redemption is claimed first, so that a concurrent second try uses up nothing.
    redemption_id = session.scalar(
        insert(GiftRedemption)
        .values(id=uuid.uuid4(), gift_code_id=found.id, user_id=user.id, amount_znc=found.amount_znc)
        .on_conflict_do_nothing(index_elements=["gift_code_id", "user_id"])
        .returning(GiftRedemption.id)
    )
    if redemption_id is None:
        raise GiftRefused("taken")
    is_valid = GiftCode.is_active & or_(GiftCode.valid_until.is_(None), GiftCode.valid_until > moment)
    taken = session.scalar(
        update(GiftCode)
        .where(GiftCode.id == found.id, GiftCode.uses < GiftCode.uses_in_all, is_valid)
        .values(uses=GiftCode.uses + 1)
        .returning(GiftCode.id)
        .execution_options(synchronize_session=False)
    )
    if taken is None:
        raise GiftRefused("over")
    transfers.transfer(
        session,
        TransferKind.GIFT,
        debit=transfers.system_account(session, AccountKind.GIFTS),
        credit=transfers.wallet_of(session, user.id),
        amount=found.amount_znc,
        purpose=TransferPurpose.GIFT_CODE,
        details={"prefix": f"{found.prefix}…"},
        reference=("gift_code", redemption_id),
        idempotency_key=f"gift:{redemption_id}",
        actor=actor,
    )
    facts = {"amount": str(found.amount_znc), "prefix": found.prefix}
    resource = ("gift_code", found.id)
    audit_log.record(session, AuditAction.GIFT_REDEEMED, actor, user_id=user.id, resource=resource, **facts)
    return found.amount_znc


def set_active(session: Session, gift_id: uuid.UUID, *, active: bool, actor: Actor) -> None:
    """Withdraw a code or enable it again. Raises NotFound."""
    gift = session.get(GiftCode, gift_id)
    if gift is None:
        raise NotFound("gift_code")
    gift.is_active = active
    session.flush()
    resource = ("gift_code", gift_id)
    action = AuditAction.GIFT_CHANGED
    audit_log.record(session, action, actor, user_id=actor.user_id, resource=resource, active=active)


def list_codes(session: Session, *, limit: int, offset: int) -> Page[GiftCode]:
    """Return a page of codes, newest first."""
    return all_codes().page(session, limit=limit, offset=offset)


def all_codes() -> ListQuery[GiftCode]:
    """Return the list of all codes, newest first."""
    return ListQuery(select(GiftCode), (GiftCode.created_at.desc(), GiftCode.id))


def _new_code() -> str:
    letters = [random_source.choice(LETTERS) for _ in range(GROUPS * GROUP)]
    return "-".join("".join(letters[start : start + GROUP]) for start in range(0, len(letters), GROUP))


def _hash(settings: Settings, code: str) -> bytes:
    """Return the keyed hash of a code, ignoring hyphens, blanks and case."""
    plain = "".join(letter for letter in code.upper()[:100] if letter.isalnum())
    return secrets.hash_of(settings.tokens, plain, Purpose.GIFT)
