"""Why a webhook cannot be reached, beside the webhook: at its last attempt, or when its address was looked up."""

import sqlalchemy as sa
from alembic import op

revision = '0092_webhook_errors'
down_revision = '0063_withheld_bonuses'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('webhook_endpoints', sa.Column('last_error', sa.String(length=300), nullable=True))


def downgrade() -> None:
    op.drop_column('webhook_endpoints', 'last_error')
