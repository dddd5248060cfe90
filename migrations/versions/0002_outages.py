"""Outages: when the upstream did not serve."""

import sqlalchemy as sa
from alembic import op

revision = '0002_outages'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('outages',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('opened_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('last_failed_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('closed_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint('closed_at >= last_failed_at', name=op.f('ck_outages_closed_after_failed')),
    sa.CheckConstraint('last_failed_at >= opened_at', name=op.f('ck_outages_failed_after_opened')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_outages'))
    )
    op.create_index(op.f('ix_outages_opened_at'), 'outages', ['opened_at'], unique=False)
    op.create_index('uq_outages_open', 'outages', [sa.literal_column('(closed_at IS NULL)')], unique=True, postgresql_where=sa.text('closed_at IS NULL'))


def downgrade() -> None:
    op.drop_index('uq_outages_open', table_name='outages', postgresql_where=sa.text('closed_at IS NULL'))
    op.drop_index(op.f('ix_outages_opened_at'), table_name='outages')
    op.drop_table('outages')
