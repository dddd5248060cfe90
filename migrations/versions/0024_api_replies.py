"""Replies of the API kept under their Idempotency-Key."""

import sqlalchemy as sa
from alembic import op

revision = '0024_api_replies'
down_revision = '0023_api_keys'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('api_replies',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('key_hash', sa.LargeBinary(length=32), nullable=False),
    sa.Column('request_hash', sa.LargeBinary(length=32), nullable=False),
    sa.Column('status', sa.Integer(), nullable=False),
    sa.Column('body', sa.LargeBinary(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_api_replies_user_id_users'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_api_replies')),
    sa.UniqueConstraint('key_hash', name=op.f('uq_api_replies_key_hash'))
    )
    op.create_index(op.f('ix_api_replies_expires_at'), 'api_replies', ['expires_at'])
    op.create_index(op.f('ix_api_replies_user_id'), 'api_replies', ['user_id'])


def downgrade() -> None:
    op.drop_table('api_replies')
