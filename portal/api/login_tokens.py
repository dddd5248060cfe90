"""Login tokens of the API: JWTs whose `jti` is a row in `logins`, so that each can be ended early."""

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
    """User and login of a token."""

    user_id: uuid.UUID
    login_id: uuid.UUID


def issue(portal: Portal, user: User, login: Login) -> str:
    """Return a signed token for a new login."""
    claims = {
        "sub": str(user.id),
        "username": user.username,
        "iat": int(login.created_at.timestamp()),
        "exp": int(login.expires_at.timestamp()),
        "jti": str(login.id),
    }
    return jwt.encode(claims, _key(portal), ALGORITHM)


def named_by(portal: Portal, token: str) -> Named | None:
    """Return user and login of a token; None if it is invalid or expired."""
    try:
        # PyJWT would use the system's clock; the time is checked below with ours.
        options: Options = {"require": _CLAIMS, "verify_exp": False, "verify_iat": False}
        claims = jwt.decode(token, _key(portal), [ALGORITHM], options=options)
        named = Named(uuid.UUID(claims["sub"]), uuid.UUID(claims["jti"]))
        expires_at = float(claims["exp"])
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
        return None
    return named if expires_at > clock.now().timestamp() else None


def _key(portal: Portal) -> bytes:
    """Return the signing key; it differs from that of the portal's cookies, so that neither is valid as the other."""
    return hmac.digest(portal.secret_key.get_secret_value().encode(), b"zenzefi api login tokens", hashlib.sha256)
