"""Mailed links, and people who have yet to confirm their address."""

import sqlalchemy as sa
from alembic import op

revision = '0013_mailed_links'
down_revision = '0015_usage_by_day'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('account_links',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('purpose', sa.Enum('confirm_email', 'reset_password', 'change_email', name='linkpurpose', native_enum=False, length=32), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=True),
    sa.Column('email', sa.String(length=254), nullable=False),
    sa.Column('secret_hash', sa.LargeBinary(length=32), nullable=False),
    sa.Column('ip_address', sa.String(length=45), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('sent_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_account_links_user_id_users'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_account_links')),
    sa.UniqueConstraint('secret_hash', name=op.f('uq_account_links_secret_hash'))
    )
    op.create_index('ix_account_links_asked', 'account_links', ['created_at'], postgresql_where=sa.text('sent_at IS NULL'))
    op.create_index('ix_account_links_user_id', 'account_links', ['user_id'])
    op.create_index('ix_account_links_expires_at', 'account_links', ['expires_at'])
    op.add_column('users', sa.Column('awaits_confirmation', sa.Boolean(), server_default=sa.text('false'), nullable=False))


def downgrade() -> None:
    op.drop_column('users', 'awaits_confirmation')
    op.drop_table('account_links')
