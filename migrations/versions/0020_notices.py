"""The language of a user's mails, the balance below which he is told, and what he wants to be told about."""

import sqlalchemy as sa
from alembic import op

revision = '0020_notices'
down_revision = '0012_logins'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('users', sa.Column('language', sa.String(length=2), server_default=sa.text("'en'"), nullable=False))
    op.add_column(
        'users',
        sa.Column('low_balance_znc', sa.Numeric(precision=18, scale=2), server_default=sa.text('5'), nullable=False),
    )
    op.create_check_constraint(op.f('ck_users_low_balance_not_negative'), 'users', 'low_balance_znc >= 0')
    op.create_table(
        'notice_choices',
        sa.Column('user_id', sa.Uuid(), nullable=False),
        sa.Column('topic', sa.String(length=32), nullable=False),
        sa.Column('mail', sa.Boolean(), nullable=False),
        sa.Column('webhook', sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ['user_id'], ['users.id'], name=op.f('fk_notice_choices_user_id_users'), ondelete='CASCADE'
        ),
        sa.PrimaryKeyConstraint('user_id', 'topic', name=op.f('pk_notice_choices')),
    )


def downgrade() -> None:
    op.drop_table('notice_choices')
    op.drop_constraint(op.f('ck_users_low_balance_not_negative'), 'users', type_='check')
    op.drop_column('users', 'low_balance_znc')
    op.drop_column('users', 'language')
