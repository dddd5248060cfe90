"""Webhooks of buyers: endpoints and deliveries."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0022_webhooks'
down_revision = '0021_notice_triggers'
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        'webhook_endpoints',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('user_id', sa.Uuid(), nullable=False),
        sa.Column('url', sa.String(length=500), nullable=False),
        sa.Column('secret', sa.LargeBinary(length=128), nullable=False),
        sa.Column('topics', postgresql.JSONB(), nullable=False),
        sa.Column('enabled', sa.Boolean(), server_default=sa.text('true'), nullable=False),
        sa.Column('failures', sa.Integer(), server_default=sa.text('0'), nullable=False),
        sa.Column('rests_until', TIME, nullable=True),
        sa.Column('disabled_at', TIME, nullable=True),
        sa.Column('created_at', TIME, server_default=sa.text('now()'), nullable=False),
        sa.ForeignKeyConstraint(
            ['user_id'], ['users.id'], name=op.f('fk_webhook_endpoints_user_id_users'), ondelete='RESTRICT'
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_webhook_endpoints')),
    )
    op.create_index('ix_webhook_endpoints_user_id', 'webhook_endpoints', ['user_id', 'created_at'])
    op.create_table(
        'webhook_deliveries',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('endpoint_id', sa.Uuid(), nullable=False),
        sa.Column('kind', sa.String(length=64), nullable=False),
        sa.Column('data', postgresql.JSONB(), nullable=False),
        sa.Column('dedup_key', sa.String(length=120), nullable=False),
        sa.Column('is_test', sa.Boolean(), server_default=sa.text('false'), nullable=False),
        sa.Column('attempts', sa.Integer(), server_default=sa.text('0'), nullable=False),
        sa.Column('next_attempt_at', TIME, server_default=sa.text('now()'), nullable=False),
        sa.Column('attempted_at', TIME, nullable=True),
        sa.Column('status', sa.Integer(), nullable=True),
        sa.Column('error', sa.String(length=300), nullable=True),
        sa.Column('answer', sa.String(length=500), nullable=True),
        sa.Column('milliseconds', sa.Integer(), nullable=True),
        sa.Column('delivered_at', TIME, nullable=True),
        sa.Column('dead_at', TIME, nullable=True),
        sa.Column('created_at', TIME, server_default=sa.text('now()'), nullable=False),
        sa.ForeignKeyConstraint(
            ['endpoint_id'],
            ['webhook_endpoints.id'],
            name=op.f('fk_webhook_deliveries_endpoint_id_webhook_endpoints'),
            ondelete='CASCADE',
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_webhook_deliveries')),
        sa.UniqueConstraint('endpoint_id', 'dedup_key', name=op.f('uq_webhook_deliveries_endpoint_id_dedup_key')),
    )
    op.create_index('ix_webhook_deliveries_log', 'webhook_deliveries', ['endpoint_id', 'created_at'])
    op.create_index(
        'ix_webhook_deliveries_waiting',
        'webhook_deliveries',
        ['next_attempt_at'],
        postgresql_where=sa.text('delivered_at IS NULL AND dead_at IS NULL'),
    )
    for column in ('delivered_at', 'dead_at'):
        where = sa.text(f'{column} IS NOT NULL')
        op.create_index(f'ix_webhook_deliveries_{column}', 'webhook_deliveries', [column], postgresql_where=where)


def downgrade() -> None:
    op.drop_table('webhook_deliveries')
    op.drop_table('webhook_endpoints')
