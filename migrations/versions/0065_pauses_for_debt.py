"""Pauses of tokens whose money was charged back, also of those that were never used."""

import sqlalchemy as sa
from alembic import op

revision = '0065_pauses_for_debt'
down_revision = '0064_closed_accounts'
branch_labels = None
depends_on = None

AFTER = 'ck_access_tokens_paused_after_activation'


def upgrade() -> None:
    op.add_column('token_pauses', sa.Column('for_debt', sa.Boolean(), server_default=sa.text('false'), nullable=False))
    op.drop_constraint(op.f(AFTER), 'access_tokens')


def downgrade() -> None:
    op.execute("UPDATE access_tokens SET paused_at = NULL, pause_limit_seconds = 0 WHERE activated_at IS NULL")
    op.create_check_constraint(op.f(AFTER), 'access_tokens', 'paused_at IS NULL OR activated_at IS NOT NULL')
    op.drop_column('token_pauses', 'for_debt')
