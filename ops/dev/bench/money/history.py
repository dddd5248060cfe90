"""A long history for the books, written by SQL: payments, purchases and refunds that add up."""

import uuid

from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from models.ledger import Account, AccountKind
from models.users import User

WALLETS = 1000
FUNDS = 1_000_000
AT_ONCE = 100_000

# Of ten transfers two are deposits, seven are purchases and one is the refund of a token that was never used.
_DEPOSITS = """
    WITH made AS (
        INSERT INTO payments (id, user_id, provider, provider_payment_id, amount_znc, amount_rub, rub_per_znc, status,
            return_url, checkout_url, expires_at)
        SELECT gen_random_uuid(), who.user_id, 'mock', gen_random_uuid()::text, 100, 1000, 10, 'pending', '', '', now()
        FROM generate_series(1, :count) AS turn JOIN bench_wallets who ON who.number = turn % :wallets
        RETURNING id, user_id, amount_znc)
    INSERT INTO transfers (id, kind, debit_account_id, credit_account_id, amount, description, reference_type,
        reference_id, idempotency_key)
    SELECT gen_random_uuid(), 'deposit', pool.id, who.wallet_id, made.amount_znc, 'Top-up', 'payment', made.id,
        'deposit:' || made.id
    FROM made JOIN bench_wallets who ON who.user_id = made.user_id
        JOIN accounts pool ON pool.kind = 'payments_received'"""
# A year's worth of days, each of which the database adds up row by row.
_SETTLED = """
    UPDATE payments SET status = 'succeeded', settled_at = now() - floor(random() * 365) * interval '1 day'
    WHERE status = 'pending'"""
_PURCHASES = """
    WITH made AS (
        INSERT INTO access_tokens (id, user_id, name, prefix, secret_hash, origin, scope, duration_hours, paid_seconds,
            paused_seconds, credited_seconds, price_paid, version, revoked_at, refund_amount)
        SELECT gen_random_uuid(), who.user_id, '', 'benchmrk', sha256(gen_random_uuid()::text::bytea), 'purchase',
            'full', 24, 86400, 0, 0, 18, 1, CASE WHEN turn % 7 = 0 THEN now() END,
            CASE WHEN turn % 7 = 0 THEN 18 END
        FROM generate_series(1, :count) AS turn JOIN bench_wallets who ON who.number = turn % :wallets
        RETURNING id, user_id, price_paid, refund_amount),
    sold AS (
        INSERT INTO transfers (id, kind, debit_account_id, credit_account_id, amount, description, reference_type,
            reference_id, idempotency_key)
        SELECT gen_random_uuid(), 'purchase', who.wallet_id, pool.id, made.price_paid, 'Token for 24 h', 'token',
            made.id, 'purchase:' || made.id
        FROM made JOIN bench_wallets who ON who.user_id = made.user_id JOIN accounts pool ON pool.kind = 'sales')
    INSERT INTO transfers (id, kind, debit_account_id, credit_account_id, amount, description, reference_type,
        reference_id, idempotency_key)
    SELECT gen_random_uuid(), 'refund', pool.id, who.wallet_id, made.refund_amount, 'Unused time', 'token', made.id,
        'refund:' || made.id
    FROM made JOIN bench_wallets who ON who.user_id = made.user_id JOIN accounts pool ON pool.kind = 'sales'
    WHERE made.refund_amount IS NOT NULL"""
_FUNDS = """
    INSERT INTO transfers (id, kind, debit_account_id, credit_account_id, amount, description, reference_type,
        reference_id, idempotency_key)
    SELECT gen_random_uuid(), 'adjustment', pool.id, who.wallet_id, :funds, 'Benchmark', 'user', who.user_id,
        'adjustment:' || who.user_id
    FROM bench_wallets who JOIN accounts pool ON pool.kind = 'adjustments'"""
_BALANCES = """
    UPDATE accounts SET balance = moved.total FROM (
        SELECT account_id, sum(amount) AS total FROM (
            SELECT credit_account_id AS account_id, amount FROM transfers
            UNION ALL SELECT debit_account_id, -amount FROM transfers) AS moves GROUP BY account_id) AS moved
    WHERE accounts.id = moved.account_id"""


def write(session: Session, transfers: int) -> None:
    """Make a thousand buyers with money, and let them have bought and returned until there are so many transfers."""
    users = [uuid.uuid4() for _ in range(WALLETS)]
    rows = [
        {
            "id": user_id,
            "email": f"buyer-{number}@example.test",
            "username": f"buyer-{number}",
            "password_hash": "nobody logs in",
            "referral_code": f"{number:012}",
        }
        for number, user_id in enumerate(users)
    ]
    session.execute(insert(User), rows)
    session.execute(insert(Account), [{"kind": AccountKind.WALLET, "user_id": user_id} for user_id in users])
    session.execute(text("SET LOCAL statement_timeout = 0"))
    session.execute(
        text(
            "CREATE TEMPORARY TABLE bench_wallets ON COMMIT DROP AS SELECT user_id, id AS wallet_id,"
            " row_number() OVER (ORDER BY id) - 1 AS number FROM accounts WHERE kind = 'wallet'"
            " AND user_id IN (SELECT id FROM users WHERE username LIKE 'buyer-%')"
        )
    )
    session.execute(text(_FUNDS), {"funds": FUNDS})
    left = max(transfers - WALLETS, 10)
    while left > 0:
        tens = -(-min(left, AT_ONCE) // 10)
        session.execute(text(_DEPOSITS), {"count": 2 * tens, "wallets": WALLETS})
        session.execute(text(_SETTLED))
        session.execute(text(_PURCHASES), {"count": 7 * tens, "wallets": WALLETS})
        left -= 10 * tens
    session.execute(text(_BALANCES))
