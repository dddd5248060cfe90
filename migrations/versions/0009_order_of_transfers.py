"""Transfers of one transaction keep the order in which they were made."""

import sqlalchemy as sa
from alembic import op

revision = '0009_order_of_transfers'
down_revision = '0008_offers'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column('transfers', 'created_at', server_default=sa.text('clock_timestamp()'))


def downgrade() -> None:
    op.alter_column('transfers', 'created_at', server_default=sa.text('now()'))
