"""An owner's token, held for a change."""

import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.services.errors import NotFound, TokenEnded
from models.tokens import AccessToken, TokenState
from models.users import User

ENDED = {TokenState.REVOKED, TokenState.EXPIRED}


def locked(session: Session, owner: User, token_id: uuid.UUID) -> AccessToken:
    """Lock the owner's token and return it as it is in the database now. Raises NotFound for a stranger's."""
    token = session.scalars(
        select(AccessToken)
        .where(AccessToken.id == token_id, AccessToken.user_id == owner.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if token is None:
        raise NotFound("token")
    return token


def refuse_ended(state: TokenState) -> None:
    """Raise TokenEnded for a token that is revoked or has expired: there is nothing left to change."""
    if state in ENDED:
        raise TokenEnded(state)
