"""The API's login tokens: JWTs whose `jti` names a row in `logins`, so that each can be ended before its time."""

import hashlib
import hmac
import uuid
from dataclasses import dataclass
from datetime import timedelta

import jwt
from jwt.types import Options

from models import clock
from models.config.server import Portal
from models.logins import Login
from models.users import User

ALGORITHM = "HS256"
LIFETIME = timedelta(minutes=60)
_CLAIMS = ["sub", "username", "iat", "exp", "jti"]


@dataclass(frozen=True, slots=True)
class Named:
    """What a token of ours names."""

    user_id: uuid.UUID
    login_id: uuid.UUID


def issue(portal: Portal, user: User, login: Login) -> str:
    """Return a signed token for a login that has just begun."""
    claims = {
        "sub": str(user.id),
        "username": user.username,
        "iat": int(login.created_at.timestamp()),
        "exp": int(login.expires_at.timestamp()),
        "jti": str(login.id),
    }
    return jwt.encode(claims, _key(portal), ALGORITHM)


def named_by(portal: Portal, token: str) -> Named | None:
    """Return what a token names; None for one that is not ours, not whole, or too old."""
    try:
        # PyJWT would look at the system's clock; the time is checked below, by ours.
        options: Options = {"require": _CLAIMS, "verify_exp": False, "verify_iat": False}
        claims = jwt.decode(token, _key(portal), [ALGORITHM], options=options)
        named = Named(uuid.UUID(claims["sub"]), uuid.UUID(claims["jti"]))
        expires_at = float(claims["exp"])
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
        return None
    return named if expires_at > clock.now().timestamp() else None


def _key(portal: Portal) -> bytes:
    """The portal's cookies are signed with another key made from the same secret, so neither passes for the other."""
    return hmac.digest(portal.secret_key.get_secret_value().encode(), b"zenzefi api login tokens", hashlib.sha256)
