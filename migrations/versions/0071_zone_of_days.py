"""The time zone in which a day of the shop was counted: UTC so far."""

import sqlalchemy as sa
from alembic import op

revision = '0071_zone_of_days'
down_revision = '0092_webhook_errors'
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column('time_zone', sa.String(length=64), server_default=sa.text("'UTC'"), nullable=False)
    op.add_column('day_figures', column)


def downgrade() -> None:
    op.drop_column('day_figures', 'time_zone')
