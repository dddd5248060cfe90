"""When providers are asked again about payments, events and refunds; events whose payment is not known yet."""

import sqlalchemy as sa
from alembic import op

revision = '0050_payment_follow_up'
down_revision = '0091_secrets_once'
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
ZERO = sa.text('0')


def upgrade() -> None:
    op.add_column('payments', sa.Column('check_at', MOMENT, nullable=True))
    op.add_column('payments', sa.Column('check_failures', sa.Integer(), nullable=False, server_default=ZERO))
    op.add_column('payments', sa.Column('failure', sa.String(length=32), nullable=True))
    # Spread over six hours, so that a large history does not ask a provider about everything at once.
    op.execute(
        """
        UPDATE payments SET check_at = now() + random() * interval '6 hours'
        WHERE (status IN ('succeeded', 'refunded') AND settled_at > now() - interval '180 days')
            OR (status IN ('pending', 'expired') AND created_at > now() - interval '30 days')
        """
    )
    op.create_index('ix_payments_check_at', 'payments', ['check_at'], postgresql_where=sa.text('check_at IS NOT NULL'))

    op.add_column('payment_reversals', sa.Column('retry_at', MOMENT, nullable=False, server_default=sa.text('now()')))
    op.add_column('payment_reversals', sa.Column('failures', sa.Integer(), nullable=False, server_default=ZERO))
    op.drop_constraint('uq_payment_reversals_payment_id_provider_key', 'payment_reversals', type_='unique')
    in_force = sa.text("state IN ('requested', 'done')")
    columns = ['payment_id', 'provider_key']
    name = 'uq_payment_reversals_in_force'
    op.create_index(name, 'payment_reversals', columns, unique=True, postgresql_where=in_force)
    op.create_index('ix_payment_reversals_payment_id', 'payment_reversals', ['payment_id', 'created_at'])
    _index_of_waiting('payment_reversals', 'requested', 'retry_at', "state = 'requested'")

    op.alter_column('payment_events', 'payment_id', nullable=True)
    named = sa.Column('provider_payment_id', sa.String(length=120), nullable=False, server_default='')
    op.add_column('payment_events', named)
    op.add_column('payment_events', sa.Column('currency', sa.String(length=3), nullable=False, server_default='RUB'))
    op.add_column('payment_events', sa.Column('failure', sa.String(length=32), nullable=True))
    op.add_column('payment_events', sa.Column('retry_at', MOMENT, nullable=False, server_default=sa.text('now()')))
    _index_of_waiting('payment_events', 'waiting', 'retry_at', 'processed_at IS NULL')
    condition = 'payment_id IS NOT NULL OR NOT needs_review'
    op.create_check_constraint(op.f('ck_payment_events_review_of_a_payment'), 'payment_events', condition)

    _reference_of_checkouts(deferrable=True, initially='DEFERRED')


def downgrade() -> None:
    _reference_of_checkouts(ondelete='RESTRICT')

    op.drop_constraint(op.f('ck_payment_events_review_of_a_payment'), 'payment_events', type_='check')
    op.execute('DELETE FROM payment_events WHERE payment_id IS NULL')
    _index_of_waiting('payment_events', 'waiting', 'received_at', 'processed_at IS NULL')
    for name in ('retry_at', 'failure', 'currency', 'provider_payment_id'):
        op.drop_column('payment_events', name)
    op.alter_column('payment_events', 'payment_id', nullable=False)

    _index_of_waiting('payment_reversals', 'requested', 'created_at', "state = 'requested'")
    op.drop_index('ix_payment_reversals_payment_id', 'payment_reversals')
    op.drop_index('uq_payment_reversals_in_force', 'payment_reversals')
    # The older table knows one reversal for each id of a provider: the later ones lose theirs.
    op.execute(
        """
        UPDATE payment_reversals SET provider_key = NULL FROM payment_reversals AS earlier
        WHERE earlier.payment_id = payment_reversals.payment_id
            AND earlier.provider_key = payment_reversals.provider_key
            AND (earlier.created_at, earlier.id) < (payment_reversals.created_at, payment_reversals.id)
        """
    )
    columns = ['payment_id', 'provider_key']
    op.create_unique_constraint('uq_payment_reversals_payment_id_provider_key', 'payment_reversals', columns)
    op.drop_column('payment_reversals', 'failures')
    op.drop_column('payment_reversals', 'retry_at')

    op.drop_index('ix_payments_check_at', 'payments')
    for name in ('failure', 'check_failures', 'check_at'):
        op.drop_column('payments', name)


def _index_of_waiting(table: str, subject: str, column: str, condition: str) -> None:
    name = f'ix_{table}_{subject}'
    op.drop_index(name, table)
    op.create_index(name, table, [column], postgresql_where=sa.text(condition))


def _reference_of_checkouts(**options: object) -> None:
    name = op.f('fk_mock_checkouts_payment_id_payments')
    op.drop_constraint(name, 'mock_checkouts', type_='foreignkey')
    op.create_foreign_key(name, 'mock_checkouts', 'payments', ['payment_id'], ['id'], **options)
