"""The time zone of a user; none is known for those who have registered before."""

import sqlalchemy as sa
from alembic import op

revision = '0070_user_time_zone'
down_revision = '0061_prices_at_purchase'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('users', sa.Column('time_zone', sa.String(length=64), nullable=True))


def downgrade() -> None:
    op.drop_column('users', 'time_zone')
