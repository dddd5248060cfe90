"""Logins as rows, so that each can be ended by itself."""

import sqlalchemy as sa
from alembic import op

revision = '0012_logins'
down_revision = '0009_order_of_transfers'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('logins',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('kind', sa.Enum('page', 'api', name='loginkind', native_enum=False, length=8), nullable=False),
    sa.Column('password_version', sa.Integer(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('last_seen_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ip_address', sa.String(length=45), nullable=True),
    sa.Column('user_agent', sa.String(length=300), nullable=False),
    sa.CheckConstraint('expires_at > created_at', name=op.f('ck_logins_lasts')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_logins_user_id_users'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_logins'))
    )
    op.create_index('ix_logins_open', 'logins', ['user_id', 'last_seen_at'], postgresql_where=sa.text('ended_at IS NULL'))
    op.create_index('ix_logins_expires_at', 'logins', ['expires_at'])


def downgrade() -> None:
    op.drop_table('logins')
