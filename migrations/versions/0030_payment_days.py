"""What was paid and what the ledger booked for it, added up by day and provider."""

import sqlalchemy as sa
from alembic import op

revision = '0030_payment_days'
down_revision = '0029_quick_lists'
branch_labels = None
depends_on = None

DEPOSITS = "SELECT coalesce(sum(amount), 0) FROM transfers WHERE reference_type = 'payment' AND kind = 'deposit'"


def upgrade() -> None:
    op.create_table(
        'payment_days',
        sa.Column('day', sa.Date(), nullable=False),
        sa.Column('provider', sa.String(length=64), nullable=False),
        sa.Column('payments', sa.BigInteger(), nullable=False),
        sa.Column('paid_rub', sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column('paid_znc', sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column('booked_znc', sa.Numeric(precision=18, scale=2), nullable=False),
        sa.PrimaryKeyConstraint('day', 'provider', name=op.f('pk_payment_days')),
    )
    # Each side is counted from its own rows, by whatever writes them: were both added up by the code that settles, a
    # mistake of its own would never show.
    op.execute(
        """
        CREATE FUNCTION add_to_payment_day(paid payments, sign int, booked numeric) RETURNS void LANGUAGE sql AS $$
            INSERT INTO payment_days AS kept (day, provider, payments, paid_rub, paid_znc, booked_znc)
            VALUES ((paid.settled_at AT TIME ZONE 'UTC')::date, paid.provider, sign, sign * paid.amount_rub,
                sign * paid.amount_znc, booked)
            ON CONFLICT (day, provider) DO UPDATE SET payments = kept.payments + excluded.payments,
                paid_rub = kept.paid_rub + excluded.paid_rub, paid_znc = kept.paid_znc + excluded.paid_znc,
                booked_znc = kept.booked_znc + excluded.booked_znc
        $$
        """
    )
    op.execute(
        f"""
        CREATE FUNCTION count_settled_payment() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP <> 'INSERT' AND OLD.settled_at IS NOT NULL THEN
                PERFORM add_to_payment_day(OLD, -1, -({DEPOSITS} AND reference_id = OLD.id));
            END IF;
            IF TG_OP <> 'DELETE' AND NEW.settled_at IS NOT NULL THEN
                PERFORM add_to_payment_day(NEW, 1, ({DEPOSITS} AND reference_id = NEW.id));
            END IF;
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        """
        CREATE FUNCTION count_booked_deposit() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            -- A deposit of a payment that is not settled yet is counted when that happens.
            UPDATE payment_days AS kept SET booked_znc = kept.booked_znc + NEW.amount FROM payments p
            WHERE p.id = NEW.reference_id AND kept.day = (p.settled_at AT TIME ZONE 'UTC')::date
                AND kept.provider = p.provider;
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER payments_count_settled AFTER INSERT OR DELETE OR UPDATE OF settled_at, provider, amount_rub,"
        ' amount_znc ON payments FOR EACH ROW EXECUTE FUNCTION count_settled_payment()'
    )
    op.execute(
        "CREATE TRIGGER transfers_count_deposit AFTER INSERT ON transfers FOR EACH ROW"
        " WHEN (NEW.kind = 'deposit' AND NEW.reference_type = 'payment') EXECUTE FUNCTION count_booked_deposit()"
    )
    op.execute(
        """
        INSERT INTO payment_days (day, provider, payments, paid_rub, paid_znc, booked_znc)
        SELECT (p.settled_at AT TIME ZONE 'UTC')::date, p.provider, count(*), sum(p.amount_rub), sum(p.amount_znc),
            coalesce(sum(t.amount), 0)
        FROM payments p LEFT JOIN (SELECT reference_id, sum(amount) AS amount FROM transfers
            WHERE reference_type = 'payment' AND kind = 'deposit' GROUP BY reference_id) t ON t.reference_id = p.id
        WHERE p.settled_at IS NOT NULL GROUP BY 1, 2
        """
    )


def downgrade() -> None:
    op.execute('DROP TRIGGER transfers_count_deposit ON transfers')
    op.execute('DROP TRIGGER payments_count_settled ON payments')
    op.execute('DROP FUNCTION count_booked_deposit()')
    op.execute('DROP FUNCTION count_settled_payment()')
    op.execute('DROP FUNCTION add_to_payment_day(payments, int, numeric)')
    op.drop_table('payment_days')
