"""Indexes for figures over millions of payments and transfers."""

import sqlalchemy as sa
from alembic import op

revision = '0016_long_lists'
down_revision = '0022_webhooks'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index('ix_payments_settled_at', 'payments', ['settled_at'])
    op.create_index('ix_transfers_sold', 'transfers', ['created_at'], postgresql_include=['amount'],
        postgresql_where=sa.text("kind = 'purchase'"))


def downgrade() -> None:
    op.drop_index('ix_transfers_sold', table_name='transfers')
    op.drop_index('ix_payments_settled_at', table_name='payments')
