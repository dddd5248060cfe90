"""The browser's way in: single-use tickets and the cookies they become."""

import sqlalchemy as sa
from alembic import op

revision = '0003_browser_entries'
down_revision = '0002_outages'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('access_tickets',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('token_id', sa.Uuid(), nullable=False),
    sa.Column('secret_hash', sa.LargeBinary(length=32), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('used_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['token_id'], ['access_tokens.id'], name=op.f('fk_access_tickets_token_id_access_tokens'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_access_tickets')),
    sa.UniqueConstraint('secret_hash', name=op.f('uq_access_tickets_secret_hash'))
    )
    op.create_index('ix_access_tickets_expires_at', 'access_tickets', ['expires_at'], unique=False)
    op.create_index(op.f('ix_access_tickets_token_id'), 'access_tickets', ['token_id'], unique=False)
    op.create_table('access_cookies',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('token_id', sa.Uuid(), nullable=False),
    sa.Column('secret_hash', sa.LargeBinary(length=32), nullable=False),
    sa.Column('device_id', sa.String(length=255), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint('char_length(device_id) BETWEEN 8 AND 255', name=op.f('ck_access_cookies_device_id_length')),
    sa.ForeignKeyConstraint(['token_id'], ['access_tokens.id'], name=op.f('fk_access_cookies_token_id_access_tokens'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_access_cookies')),
    sa.UniqueConstraint('secret_hash', name=op.f('uq_access_cookies_secret_hash'))
    )
    op.create_index(op.f('ix_access_cookies_token_id'), 'access_cookies', ['token_id'], unique=False)


def downgrade() -> None:
    op.drop_index(op.f('ix_access_cookies_token_id'), table_name='access_cookies')
    op.drop_table('access_cookies')
    op.drop_index(op.f('ix_access_tickets_token_id'), table_name='access_tickets')
    op.drop_index('ix_access_tickets_expires_at', table_name='access_tickets')
    op.drop_table('access_tickets')
