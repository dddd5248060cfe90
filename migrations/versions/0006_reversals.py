"""Money that goes back to payers: refunds, disputes, and what a person has to look at."""

import sqlalchemy as sa
from alembic import op

revision = '0006_reversals'
down_revision = '0005_fair_clock'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('payments', sa.Column('returned_rub', sa.Numeric(precision=18, scale=2), nullable=False, server_default='0'))
    op.add_column('payments', sa.Column('returned_znc', sa.Numeric(precision=18, scale=2), nullable=False, server_default='0'))
    op.drop_constraint('ck_payments_settled', 'payments')
    op.create_check_constraint(op.f('ck_payments_settled'), 'payments', "(status IN ('succeeded', 'refunded')) = (settled_at IS NOT NULL)")
    op.create_check_constraint(op.f('ck_payments_returned_znc_within'), 'payments', 'returned_znc BETWEEN 0 AND amount_znc')
    op.create_check_constraint(op.f('ck_payments_returned_rub_within'), 'payments', 'returned_rub BETWEEN 0 AND amount_rub')
    op.create_check_constraint(op.f('ck_payments_refunded_in_full'), 'payments', "(status = 'refunded') = (returned_rub = amount_rub)")
    op.create_check_constraint(op.f('ck_payments_returned_after_settled'), 'payments', 'returned_rub = 0 OR settled_at IS NOT NULL')
    op.create_table('payment_reversals',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('payment_id', sa.Uuid(), nullable=False),
    sa.Column('kind', sa.Enum('refund', 'dispute', native_enum=False, length=32), nullable=False),
    sa.Column('state', sa.Enum('requested', 'done', 'refused', 'won', native_enum=False, length=32), nullable=False),
    sa.Column('amount_rub', sa.Numeric(precision=18, scale=2), nullable=False),
    sa.Column('amount_znc', sa.Numeric(precision=18, scale=2), nullable=False),
    sa.Column('reason', sa.String(length=200), nullable=False),
    sa.Column('actor_id', sa.Uuid(), nullable=True),
    sa.Column('provider_key', sa.String(length=120), nullable=True),
    sa.Column('note', sa.String(length=200), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint('amount_rub > 0 AND amount_znc >= 0', name=op.f('ck_payment_reversals_amounts')),
    sa.CheckConstraint("(state = 'requested') = (ended_at IS NULL)", name=op.f('ck_payment_reversals_ended')),
    sa.ForeignKeyConstraint(['actor_id'], ['users.id'], name=op.f('fk_payment_reversals_actor_id_users'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['payment_id'], ['payments.id'], name=op.f('fk_payment_reversals_payment_id_payments'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_payment_reversals')),
    sa.UniqueConstraint('payment_id', 'provider_key', name=op.f('uq_payment_reversals_payment_id_provider_key'))
    )
    op.create_index('ix_payment_reversals_requested', 'payment_reversals', ['created_at'], postgresql_where=sa.text("state = 'requested'"))
    op.add_column('payment_events', sa.Column('amount_rub', sa.Numeric(precision=18, scale=2), nullable=True))
    op.execute('UPDATE payment_events e SET amount_rub = p.amount_rub FROM payments p WHERE p.id = e.payment_id')
    op.alter_column('payment_events', 'amount_rub', nullable=False)
    op.add_column('payment_events', sa.Column('refund_id', sa.String(length=120), nullable=True))
    op.add_column('payment_events', sa.Column('refund_key', sa.String(length=120), nullable=True))
    op.add_column('payment_events', sa.Column('needs_review', sa.Boolean(), nullable=False, server_default=sa.text('false')))
    op.add_column('payment_events', sa.Column('reviewed_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('payment_events', sa.Column('reviewed_by', sa.Uuid(), nullable=True))
    op.add_column('payment_events', sa.Column('review_note', sa.String(length=200), nullable=False, server_default=''))
    op.create_foreign_key(op.f('fk_payment_events_reviewed_by_users'), 'payment_events', 'users', ['reviewed_by'], ['id'], ondelete='RESTRICT')
    op.create_check_constraint(op.f('ck_payment_events_reviewed_if_needed'), 'payment_events', 'reviewed_at IS NULL OR needs_review')
    op.create_index('ix_payment_events_review', 'payment_events', ['received_at'], postgresql_where=sa.text('needs_review AND reviewed_at IS NULL'))


def downgrade() -> None:
    op.drop_index('ix_payment_events_review', table_name='payment_events')
    for name in ('review_note', 'reviewed_by', 'reviewed_at', 'needs_review', 'refund_key', 'refund_id', 'amount_rub'):
        op.drop_column('payment_events', name)
    op.drop_table('payment_reversals')
    op.execute("UPDATE payments SET status = 'succeeded' WHERE status = 'refunded'")
    for name in ('returned_after_settled', 'refunded_in_full', 'returned_rub_within', 'returned_znc_within', 'settled'):
        op.drop_constraint(f'ck_payments_{name}', 'payments')
    op.create_check_constraint(op.f('ck_payments_settled'), 'payments', "(status = 'succeeded') = (settled_at IS NOT NULL)")
    op.drop_column('payments', 'returned_znc')
    op.drop_column('payments', 'returned_rub')
