"""Personal API keys, and the audit log by kind of resource."""

import sqlalchemy as sa
from alembic import op

revision = '0023_api_keys'
down_revision = '0020_notices'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('api_keys',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.String(length=50), nullable=False),
    sa.Column('scope', sa.Enum('read', 'buy', 'admin', name='keyscope', native_enum=False, length=8), nullable=False),
    sa.Column('prefix', sa.String(length=8), nullable=False),
    sa.Column('secret_hash', sa.LargeBinary(length=32), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('last_used_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_api_keys_user_id_users'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_api_keys')),
    sa.UniqueConstraint('secret_hash', name=op.f('uq_api_keys_secret_hash'))
    )
    op.create_index('ix_api_keys_user_id_created_at', 'api_keys', ['user_id', 'created_at'])
    op.create_index('ix_audit_entries_resource_type_id', 'audit_entries', ['resource_type', sa.text('id DESC')])


def downgrade() -> None:
    op.drop_index('ix_audit_entries_resource_type_id', table_name='audit_entries')
    op.drop_table('api_keys')
