"""Ledger verification: SQL rules that hold when the ledger is sound."""

from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from models.ledger import LedgerCheck

# The credited user's account and the deleted ones with the same address before it.
_FORMER = """(WITH RECURSIVE former AS (
                        SELECT id, former_id FROM users WHERE id = c.user_id
                        UNION SELECT u.id, u.former_id FROM users u JOIN former f ON u.id = f.former_id)
                        SELECT id FROM former)"""
# Each query returns one row for each fault; a sound ledger returns none.
_CHECKS = {
    "account_balance": """
        WITH moved AS (
            SELECT account_id, sum(amount) AS total FROM (
                SELECT credit_account_id AS account_id, amount FROM transfers
                UNION ALL SELECT debit_account_id, -amount FROM transfers
            ) AS moves GROUP BY account_id)
        SELECT a.kind || ' ' || a.id || ': balance ' || a.balance || ', transfers ' || coalesce(m.total, 0)
        FROM accounts a LEFT JOIN moved m ON m.account_id = a.id WHERE a.balance <> coalesce(m.total, 0)""",
    "sum_zero": """
        SELECT 'sum ' || sum(balance) FROM accounts HAVING coalesce(sum(balance), 0) <> 0""",
    "payment_deposit": """
        SELECT p.id::text FROM payments p LEFT JOIN transfers t
            ON t.reference_type = 'payment' AND t.reference_id = p.id AND t.kind = 'deposit'
        GROUP BY p.id
        HAVING coalesce(sum(t.amount), 0) <> CASE WHEN p.settled_at IS NOT NULL THEN p.amount_znc ELSE 0 END
            OR count(t.id) > 1""",
    "daily_totals": """
        WITH found AS (
            SELECT (p.settled_at AT TIME ZONE 'UTC')::date AS day, p.provider, count(*) AS payments,
                sum(p.amount_rub) AS rub, sum(p.amount_znc) AS znc, coalesce(sum(t.amount), 0) AS booked
            FROM payments p LEFT JOIN (SELECT reference_id, sum(amount) AS amount FROM transfers
                WHERE reference_type = 'payment' AND kind = 'deposit' GROUP BY 1) t ON t.reference_id = p.id
            WHERE p.settled_at IS NOT NULL GROUP BY 1, 2)
        SELECT day || ' ' || provider FROM found f FULL JOIN payment_days k USING (day, provider)
        WHERE (coalesce(f.payments, 0), coalesce(f.rub, 0), coalesce(f.znc, 0), coalesce(f.booked, 0)) <>
            (coalesce(k.payments, 0), coalesce(k.paid_rub, 0), coalesce(k.paid_znc, 0), coalesce(k.booked_znc, 0))""",
    "payment_reversals": """
        SELECT p.id::text FROM payments p
            LEFT JOIN (SELECT t.reference_id,
                sum(CASE WHEN c.kind = 'payments_received' THEN t.amount ELSE -t.amount END) AS znc
                FROM transfers t JOIN accounts c ON c.id = t.credit_account_id
                    JOIN accounts d ON d.id = t.debit_account_id
                WHERE t.kind = 'reversal' AND t.reference_type = 'payment'
                    AND 'payments_received' IN (c.kind, d.kind) GROUP BY 1) t ON t.reference_id = p.id
            LEFT JOIN (SELECT payment_id, sum(amount_znc) AS znc, sum(amount_rub) AS rub FROM payment_reversals
                WHERE state IN ('requested', 'done') GROUP BY 1) r ON r.payment_id = p.id
        WHERE p.returned_znc <> coalesce(t.znc, 0) OR p.returned_znc <> coalesce(r.znc, 0)
            OR p.returned_rub <> coalesce(r.rub, 0)""",
    "debtor_balance": """
        SELECT w.user_id::text FROM accounts w JOIN accounts r ON r.user_id = w.user_id AND r.kind = 'receivable'
        WHERE w.kind = 'wallet' AND w.balance > 0 AND r.balance < 0""",
    "deleted_account_balance": """
        SELECT user_id::text FROM accounts WHERE closed_at IS NOT NULL AND kind = 'wallet' AND balance <> 0""",
    "token_price": """
        SELECT k.id::text FROM access_tokens k LEFT JOIN transfers t
            ON t.reference_type = 'token' AND t.reference_id = k.id AND t.kind = 'purchase'
        GROUP BY k.id HAVING coalesce(sum(t.amount), 0) + coalesce(k.bundle_share, 0) <> k.price_paid""",
    "bundle_price": """
        SELECT b.id::text FROM bundle_purchases b
            LEFT JOIN (SELECT reference_id, sum(amount) AS paid, count(*) AS times FROM transfers
                WHERE reference_type = 'bundle_purchase' AND kind = 'purchase' GROUP BY 1) t ON t.reference_id = b.id
            LEFT JOIN (SELECT bundle_purchase_id, sum(bundle_share) AS shares, count(*) AS tokens FROM access_tokens
                WHERE bundle_purchase_id IS NOT NULL GROUP BY 1) k ON k.bundle_purchase_id = b.id
        WHERE b.price_paid IS DISTINCT FROM t.paid OR t.times <> 1 OR b.price_paid IS DISTINCT FROM k.shares
            OR b.token_count <> k.tokens""",
    "bundle_refunds": """
        SELECT bundle_purchase_id::text FROM access_tokens WHERE bundle_purchase_id IS NOT NULL
        GROUP BY 1 HAVING coalesce(sum(refund_amount), 0) > sum(price_paid)""",
    "gift_code_uses": """
        SELECT g.id::text FROM gift_codes g
            LEFT JOIN (SELECT r.gift_code_id, count(*) AS uses, sum(r.amount_znc) AS znc, sum(t.amount) AS booked
                FROM gift_redemptions r LEFT JOIN transfers t
                    ON t.reference_type = 'gift_code' AND t.reference_id = r.id AND t.kind = 'gift'
                GROUP BY 1) r ON r.gift_code_id = g.id
        WHERE g.uses <> coalesce(r.uses, 0) OR coalesce(r.znc, 0) IS DISTINCT FROM coalesce(r.booked, 0)""",
    "referral_bonus": """
        SELECT b.id::text FROM referral_bonuses b
            LEFT JOIN (SELECT t.reference_id,
                sum(CASE 'bonuses' WHEN d.kind THEN t.amount WHEN c.kind THEN -t.amount END) AS paid,
                sum(CASE WHEN c.kind = 'wallet' THEN t.amount
                    WHEN d.kind IN ('wallet', 'receivable') THEN -t.amount END) AS vested
                FROM transfers t JOIN accounts d ON d.id = t.debit_account_id
                    JOIN accounts c ON c.id = t.credit_account_id
                WHERE t.reference_type = 'referral' GROUP BY 1) t ON t.reference_id = b.id
        WHERE b.amount - b.returned - b.withheld IS DISTINCT FROM t.paid
            OR CASE WHEN b.ended_at IS NULL THEN 0 ELSE b.amount - b.returned - b.withheld END
                <> coalesce(t.vested, 0)""",
    "token_refund": """
        SELECT k.id::text FROM access_tokens k LEFT JOIN transfers t
            ON t.reference_type = 'token' AND t.reference_id = k.id AND t.kind = 'refund'
        GROUP BY k.id HAVING coalesce(sum(t.amount), 0) <> coalesce(k.refund_amount, 0) OR count(t.id) > 1""",
    "transfer_accounts": """
        SELECT t.kind || ' ' || t.id FROM transfers t
            JOIN accounts d ON d.id = t.debit_account_id JOIN accounts c ON c.id = t.credit_account_id
            LEFT JOIN payments p ON t.reference_type = 'payment' AND p.id = t.reference_id
            LEFT JOIN access_tokens k ON t.reference_type = 'token' AND k.id = t.reference_id
            LEFT JOIN bundle_purchases b ON t.reference_type = 'bundle_purchase' AND b.id = t.reference_id
            LEFT JOIN gift_redemptions g ON t.reference_type = 'gift_code' AND g.id = t.reference_id
            LEFT JOIN referral_bonuses r ON t.reference_type = 'referral' AND r.id = t.reference_id
        WHERE NOT coalesce(CASE t.kind
            WHEN 'deposit' THEN d.kind = 'payments_received'
                AND (c.kind = 'unclaimed' OR (c.kind = 'wallet' AND c.user_id = p.user_id))
            WHEN 'purchase' THEN d.user_id = coalesce(k.user_id, b.user_id) AND d.kind = 'wallet' AND c.kind = 'sales'
            WHEN 'gift' THEN d.kind = 'gifts' AND c.kind = 'wallet' AND c.user_id = g.user_id
            WHEN 'referral_bonus' THEN r.referrer_id IN (c.user_id, d.user_id) AND (
                (d.kind = 'bonuses' AND c.kind IN ('held', 'wallet'))
                OR (d.kind = 'held' AND c.kind = 'wallet' AND d.user_id = c.user_id))
            WHEN 'refund' THEN d.kind = 'sales' AND c.kind = 'wallet' AND c.user_id = k.user_id
            WHEN 'reversal' THEN CASE t.reference_type
                WHEN 'payment' THEN (c.kind = 'payments_received' AND (d.kind = 'unclaimed'
                        OR (d.kind IN ('wallet', 'receivable') AND d.user_id = p.user_id)))
                    OR (d.kind = 'payments_received' AND (c.kind = 'unclaimed'
                        OR (c.kind IN ('wallet', 'receivable') AND c.user_id = p.user_id)))
                    OR (d.kind = 'unclaimed' AND c.kind = 'wallet' AND p.user_id IN {former})
                WHEN 'referral' THEN d.kind IN ('held', 'wallet', 'receivable') AND c.kind = 'bonuses'
                    AND d.user_id = r.referrer_id
                WHEN 'user' THEN (d.kind = 'unclaimed' AND c.kind = 'wallet' AND t.reference_id IN {former})
                    OR d.user_id = t.reference_id AND ((d.kind = 'wallet' AND c.kind = 'unclaimed')
                    OR (d.kind = 'wallet' AND c.kind = 'receivable' AND d.user_id = c.user_id)
                    OR (d.kind IN ('wallet', 'receivable') AND c.kind = 'receivable'
                        AND c.user_id = (SELECT former_id FROM users WHERE id = d.user_id))) END
            WHEN 'adjustment' THEN t.reference_type = 'user' AND (
                (d.kind = 'adjustments' AND c.kind = 'wallet' AND c.user_id = t.reference_id)
                OR (c.kind = 'adjustments' AND d.kind = 'wallet' AND d.user_id = t.reference_id))
            END, false)""".replace("{former}", _FORMER),
}


# So many rows of what breaks a rule are read; a broken ledger of a million rows must not fill the memory.
SHOWN = 100


@dataclass(frozen=True, slots=True)
class Report:
    """Result of a ledger verification; amounts in ZNC.

    `balances` are the sums over all accounts of a kind; `faults` maps a rule that does not hold to what breaks it, at
    most `SHOWN` rows and one more.
    """

    transfers: int
    turnover: Decimal
    balances: dict[str, Decimal]
    faults: dict[str, list[str]]
    rules: int = len(_CHECKS)

    @property
    def is_sound(self) -> bool:
        return not self.faults


def verify(session: Session) -> Report:
    """Check every rule of the ledger against all rows, in one snapshot, however long that takes."""
    session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
    session.execute(text("SET LOCAL statement_timeout = 0"))
    count, turnover = session.execute(text("SELECT count(*), coalesce(sum(amount), 0) FROM transfers")).one()
    balances = session.execute(text("SELECT kind, sum(balance) FROM accounts GROUP BY kind ORDER BY kind"))
    totals = {kind: Decimal(total) for kind, total in balances}
    faults = {rule: rows for rule in _CHECKS if (rows := failed_checks(session, rule))}
    return Report(count, turnover, totals, faults)


def failed_checks(session: Session, rule: str) -> list[str]:
    """Return what breaks one rule."""
    return list(session.scalars(text(f"SELECT * FROM ({_CHECKS[rule]}) AS fault LIMIT {SHOWN + 1}")))  # noqa: S608


def record_check(session: Session, report: Report) -> LedgerCheck:
    """Store the result of a verification, with the first rows of each broken rule."""
    faults = {rule: rows[:10] for rule, rows in report.faults.items()}
    check = LedgerCheck(is_sound=report.is_sound, faults=faults)
    session.add(check)
    session.flush()
    return check


def last_check(session: Session) -> LedgerCheck | None:
    """Return the newest stored verification."""
    return session.scalars(select(LedgerCheck).order_by(LedgerCheck.id.desc()).limit(1)).one_or_none()


RULES = tuple(_CHECKS)
