"""An index for figures over millions of transfers."""

import sqlalchemy as sa
from alembic import op

revision = '0016_long_lists'
down_revision = '0014_two_factor'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index('ix_transfers_sold', 'transfers', ['created_at'], postgresql_include=['amount'],
        postgresql_where=sa.text("kind = 'purchase'"))
    for side in ('debit_account_id', 'credit_account_id'):
        op.drop_index(f'ix_transfers_{side}_created_at', table_name='transfers')
        op.create_index(f'ix_transfers_{side}_created_at', 'transfers', [side, 'created_at'], postgresql_include=['amount'])


def downgrade() -> None:
    for side in ('debit_account_id', 'credit_account_id'):
        op.drop_index(f'ix_transfers_{side}_created_at', table_name='transfers')
        op.create_index(f'ix_transfers_{side}_created_at', 'transfers', [side, 'created_at'])
    op.drop_index('ix_transfers_sold', table_name='transfers')
