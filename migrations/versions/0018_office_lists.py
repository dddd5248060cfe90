"""Notes about people, the request behind an audit row, and the indexes of the office's lists."""

import sqlalchemy as sa
from alembic import op

revision = '0018_office_lists'
down_revision = '0017_setting_changes'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'user_notes',
        sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column('user_id', sa.Uuid(), nullable=False),
        sa.Column('author_id', sa.Uuid(), nullable=False),
        sa.Column('text', sa.String(length=1000), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.ForeignKeyConstraint(['author_id'], ['users.id'], name='fk_user_notes_author_id_users', ondelete='RESTRICT'),
        sa.ForeignKeyConstraint(['user_id'], ['users.id'], name='fk_user_notes_user_id_users', ondelete='RESTRICT'),
        sa.PrimaryKeyConstraint('id', name='pk_user_notes'),
    )
    op.create_index('ix_user_notes_user_id_id', 'user_notes', ['user_id', sa.text('id DESC')])
    op.add_column('audit_entries', sa.Column('request_id', sa.String(length=64), nullable=True))
    op.create_index(
        'ix_audit_entries_request_id', 'audit_entries', ['request_id'], postgresql_where=sa.text('request_id IS NOT NULL')
    )
    op.create_index('ix_audit_entries_actor_id_id', 'audit_entries', ['actor_id', sa.text('id DESC')])
    op.execute('CREATE EXTENSION IF NOT EXISTS pg_trgm')
    op.create_index(
        'ix_users_words',
        'users',
        ['email', 'username'],
        postgresql_using='gin',
        postgresql_ops={'email': 'gin_trgm_ops', 'username': 'gin_trgm_ops'},
    )
    op.create_index('ix_users_disabled', 'users', ['created_at'], postgresql_where=sa.text('NOT is_active'))
    op.create_index('ix_users_superusers', 'users', ['created_at'], postgresql_where=sa.text('is_superuser'))
    op.create_index(
        'ix_accounts_wallet_balance', 'accounts', ['balance'], postgresql_where=sa.text("kind = 'wallet'")
    )
    op.create_index(
        'ix_accounts_debts',
        'accounts',
        ['balance'],
        postgresql_where=sa.text("kind = 'receivable' AND balance < 0"),
    )
    op.create_index('ix_access_tokens_created_at', 'access_tokens', ['created_at'])
    op.create_index(
        'ix_access_tokens_unused', 'access_tokens', ['created_at'], postgresql_where=sa.text('activated_at IS NULL')
    )
    op.create_index(
        'ix_access_tokens_ends',
        'access_tokens',
        [
            sa.text(
                "((activated_at AT TIME ZONE 'UTC') + make_interval(secs => "
                '(paid_seconds + paused_seconds + credited_seconds)::double precision))'
            )
        ],
        postgresql_where=sa.text('revoked_at IS NULL AND activated_at IS NOT NULL AND paused_at IS NULL'),
    )
    op.create_index('ix_payments_created_at', 'payments', ['created_at'])


def downgrade() -> None:
    op.drop_index('ix_payments_created_at', 'payments')
    op.drop_index('ix_access_tokens_ends', 'access_tokens')
    op.drop_index('ix_access_tokens_unused', 'access_tokens')
    op.drop_index('ix_access_tokens_created_at', 'access_tokens')
    op.drop_index('ix_accounts_debts', 'accounts')
    op.drop_index('ix_accounts_wallet_balance', 'accounts')
    op.drop_index('ix_users_superusers', 'users')
    op.drop_index('ix_users_disabled', 'users')
    op.drop_index('ix_users_words', 'users')
    op.execute('DROP EXTENSION pg_trgm')
    op.drop_index('ix_audit_entries_actor_id_id', 'audit_entries')
    op.drop_index('ix_audit_entries_request_id', 'audit_entries')
    op.drop_column('audit_entries', 'request_id')
    op.drop_table('user_notes')
