"""Pauses, outage credit, extensions, renewals and rotated secrets."""

import sqlalchemy as sa
from alembic import op

revision = '0005_fair_clock'
down_revision = '0004_more_accounts'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('access_tokens', sa.Column('generation', sa.Integer(), nullable=False, server_default='1'))
    op.add_column('access_tokens', sa.Column('previous_hash', sa.LargeBinary(length=32), nullable=True))
    op.add_column('access_tokens', sa.Column('previous_until', sa.DateTime(timezone=True), nullable=True))
    op.add_column('access_tokens', sa.Column('auto_renew', sa.Boolean(), nullable=False, server_default=sa.text('false')))
    op.add_column('access_tokens', sa.Column('renewal_told_for', sa.BigInteger(), nullable=True))
    op.create_unique_constraint(op.f('uq_access_tokens_previous_hash'), 'access_tokens', ['previous_hash'])
    op.create_check_constraint(op.f('ck_access_tokens_previous_with_end'), 'access_tokens', '(previous_hash IS NULL) = (previous_until IS NULL)')
    op.create_index('ix_access_tokens_renewing', 'access_tokens', ['id'], postgresql_where=sa.text('auto_renew AND revoked_at IS NULL'))
    op.create_index('ix_access_tokens_paused_at', 'access_tokens', ['paused_at'], postgresql_where=sa.text('paused_at IS NOT NULL'))
    op.create_table('token_pauses',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('token_id', sa.Uuid(), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint('ended_at >= started_at', name=op.f('ck_token_pauses_ended_after_started')),
    sa.ForeignKeyConstraint(['token_id'], ['access_tokens.id'], name=op.f('fk_token_pauses_token_id_access_tokens'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_token_pauses'))
    )
    op.create_index('ix_token_pauses_token_id_started_at', 'token_pauses', ['token_id', 'started_at'])
    op.create_index('uq_token_pauses_open', 'token_pauses', ['token_id'], unique=True, postgresql_where=sa.text('ended_at IS NULL'))
    op.create_table('token_events',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('token_id', sa.Uuid(), nullable=False),
    sa.Column('kind', sa.Enum('extended', 'renewed', 'rotated', native_enum=False, length=32), nullable=False),
    sa.Column('happened_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('seconds', sa.BigInteger(), nullable=False),
    sa.Column('price', sa.Numeric(precision=18, scale=2), nullable=False),
    sa.CheckConstraint('seconds >= 0 AND price >= 0', name=op.f('ck_token_events_not_negative')),
    sa.ForeignKeyConstraint(['token_id'], ['access_tokens.id'], name=op.f('fk_token_events_token_id_access_tokens'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_token_events'))
    )
    op.create_index('ix_token_events_token_id_happened_at', 'token_events', ['token_id', 'happened_at'])
    op.add_column('outages', sa.Column('credited_at', sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(op.f('ck_outages_credited_after_closed'), 'outages', 'credited_at IS NULL OR closed_at IS NOT NULL')
    op.create_table('outage_credits',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('outage_id', sa.Uuid(), nullable=False),
    sa.Column('token_id', sa.Uuid(), nullable=False),
    sa.Column('seconds', sa.BigInteger(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('seconds >= 0', name=op.f('ck_outage_credits_seconds_not_negative')),
    sa.ForeignKeyConstraint(['outage_id'], ['outages.id'], name=op.f('fk_outage_credits_outage_id_outages'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['token_id'], ['access_tokens.id'], name=op.f('fk_outage_credits_token_id_access_tokens'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_outage_credits'))
    )
    op.create_index('uq_outage_credits_token_id_outage_id', 'outage_credits', ['token_id', 'outage_id'], unique=True)
    op.create_index('ix_outage_credits_outage_id', 'outage_credits', ['outage_id'])


def downgrade() -> None:
    op.drop_table('outage_credits')
    op.drop_constraint('ck_outages_credited_after_closed', 'outages')
    op.drop_column('outages', 'credited_at')
    op.drop_table('token_events')
    op.drop_table('token_pauses')
    op.drop_index('ix_access_tokens_paused_at', table_name='access_tokens')
    op.drop_index('ix_access_tokens_renewing', table_name='access_tokens')
    op.drop_constraint('ck_access_tokens_previous_with_end', 'access_tokens')
    op.drop_constraint('uq_access_tokens_previous_hash', 'access_tokens')
    for name in ('renewal_told_for', 'auto_renew', 'previous_until', 'previous_hash', 'generation'):
        op.drop_column('access_tokens', name)
