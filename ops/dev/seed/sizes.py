"""Sizes of a seeded database."""

from dataclasses import dataclass
from typing import Self

MAX_PAYMENTS = 10


@dataclass(frozen=True, slots=True)
class Sizes:
    """Requested and derived numbers of rows: every transfer belongs to a payment or to a token."""

    users: int
    tokens: int
    transfers: int
    # Settled payments of each user.
    payments: int
    # Hours by which each token was extended; the first `one_more` tokens by one hour more.
    extensions: int
    one_more: int

    @classmethod
    def of(cls, users: int, tokens: int, transfers: int) -> Self:
        """Distribute the transfers. Raises ValueError when they are too few for the tokens and users."""
        rest = transfers - tokens - tokens // 10
        if users < 10 or tokens < 10 or rest < users:
            least = tokens + tokens // 10 + users
            raise ValueError(f"at least 10 users, 10 tokens and, for these, {least} transfers are needed")
        payments = min(max(rest // users // 3, 1), MAX_PAYMENTS)
        extensions, one_more = divmod(rest - users * payments, tokens)
        return cls(users, tokens, transfers, payments, extensions, one_more)
