"""Proving that the books add up."""

from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.orm import Session

# Each query returns one row for each fault; a sound ledger returns none.
_CHECKS = {
    "A balance differs from its transfers": """
        WITH moved AS (
            SELECT account_id, sum(amount) AS total FROM (
                SELECT credit_account_id AS account_id, amount FROM transfers
                UNION ALL SELECT debit_account_id, -amount FROM transfers
            ) AS moves GROUP BY account_id)
        SELECT a.kind || ' ' || a.id || ': balance ' || a.balance || ', transfers ' || coalesce(m.total, 0)
        FROM accounts a LEFT JOIN moved m ON m.account_id = a.id WHERE a.balance <> coalesce(m.total, 0)""",
    "The sum over all accounts is not zero": """
        SELECT 'sum ' || sum(balance) FROM accounts HAVING coalesce(sum(balance), 0) <> 0""",
    "A settled payment does not have exactly its deposit": """
        SELECT p.id::text FROM payments p LEFT JOIN transfers t
            ON t.reference_type = 'payment' AND t.reference_id = p.id AND t.kind = 'deposit'
        GROUP BY p.id
        HAVING coalesce(sum(t.amount), 0) <> CASE WHEN p.status = 'succeeded' THEN p.amount_znc ELSE 0 END
            OR count(t.id) > 1""",
    "A token was not paid for with exactly its price": """
        SELECT k.id::text FROM access_tokens k LEFT JOIN transfers t
            ON t.reference_type = 'token' AND t.reference_id = k.id AND t.kind = 'purchase'
        GROUP BY k.id HAVING coalesce(sum(t.amount), 0) <> k.price_paid""",
    "A revoked token was not refunded with exactly its refund": """
        SELECT k.id::text FROM access_tokens k LEFT JOIN transfers t
            ON t.reference_type = 'token' AND t.reference_id = k.id AND t.kind = 'refund'
        GROUP BY k.id HAVING coalesce(sum(t.amount), 0) <> coalesce(k.refund_amount, 0) OR count(t.id) > 1""",
    "A transfer does not join the accounts that its kind and its reference name": """
        SELECT t.kind || ' ' || t.id FROM transfers t
            JOIN accounts d ON d.id = t.debit_account_id JOIN accounts c ON c.id = t.credit_account_id
            LEFT JOIN payments p ON t.reference_type = 'payment' AND p.id = t.reference_id
            LEFT JOIN access_tokens k ON t.reference_type = 'token' AND k.id = t.reference_id
        WHERE NOT coalesce(CASE t.kind
            WHEN 'deposit' THEN d.kind = 'payments_received' AND c.user_id = p.user_id
            WHEN 'purchase' THEN d.user_id = k.user_id AND c.kind = 'sales'
            WHEN 'refund' THEN d.kind = 'sales' AND c.user_id = k.user_id
            WHEN 'adjustment' THEN t.reference_type = 'user' AND (
                (d.kind = 'adjustments' AND c.user_id = t.reference_id)
                OR (c.kind = 'adjustments' AND d.user_id = t.reference_id))
            END, false)""",
}


@dataclass(frozen=True, slots=True)
class Report:
    """What a check of the ledger found; `faults` maps a rule that does not hold to what breaks it."""

    transfers: int
    turnover: Decimal
    faults: dict[str, list[str]]

    @property
    def is_sound(self) -> bool:
        return not self.faults


def verify(session: Session) -> Report:
    """Check every rule of the ledger against all rows, in one snapshot."""
    session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
    count, turnover = session.execute(text("SELECT count(*), coalesce(sum(amount), 0) FROM transfers")).one()
    faults = {rule: list(session.scalars(text(query))) for rule, query in _CHECKS.items()}
    return Report(count, turnover, {rule: rows for rule, rows in faults.items() if rows})
