"""The notification of a low balance goes to who asked for it: no threshold unless one was saved."""

import sqlalchemy as sa
from alembic import op

revision = '0090_low_balance_on_request'
down_revision = '0027_purchases_by_day'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column('users', 'low_balance_znc', server_default=sa.text('0'))
    # 5 was the default. Saving the page of notifications writes a choice for each topic, so a user without any choice
    # has never set a threshold.
    op.execute(
        """
        UPDATE users SET low_balance_znc = 0
        WHERE low_balance_znc = 5 AND NOT EXISTS (SELECT FROM notice_choices WHERE notice_choices.user_id = users.id)
        """
    )


def downgrade() -> None:
    op.alter_column('users', 'low_balance_znc', server_default=sa.text('5'))
