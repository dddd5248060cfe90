"""Which secret a webhook has and which recovery codes a user has, so that a form sent twice replaces them once."""

import sqlalchemy as sa
from alembic import op

revision = '0091_secrets_once'
down_revision = '0060_pause_limits'
branch_labels = None
depends_on = None

COLUMNS = (('webhook_endpoints', 'generation'), ('two_factors', 'codes_generation'))


def upgrade() -> None:
    for table, column in COLUMNS:
        op.add_column(table, sa.Column(column, sa.Integer(), server_default=sa.text('1'), nullable=False))


def downgrade() -> None:
    for table, column in reversed(COLUMNS):
        op.drop_column(table, column)
