"""First tables: people, the ledger, payments, tokens, sessions, audit, outbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('users',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('email', sa.String(length=254), nullable=False),
    sa.Column('username', sa.String(length=50), nullable=False),
    sa.Column('full_name', sa.String(length=100), nullable=True),
    sa.Column('password_hash', sa.String(length=200), nullable=False),
    sa.Column('password_version', sa.Integer(), nullable=False),
    sa.Column('is_active', sa.Boolean(), nullable=False),
    sa.Column('is_superuser', sa.Boolean(), nullable=False),
    sa.Column('referral_code', sa.String(length=12), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('char_length(referral_code) = 12', name=op.f('ck_users_referral_code_length')),
    sa.CheckConstraint('char_length(username) BETWEEN 3 AND 50', name=op.f('ck_users_username_length')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_users')),
    sa.UniqueConstraint('referral_code', name=op.f('uq_users_referral_code'))
    )
    op.create_index(op.f('ix_users_created_at'), 'users', ['created_at'], unique=False)
    op.create_index('uq_users_email', 'users', [sa.literal_column('lower(email)')], unique=True)
    op.create_index('uq_users_username', 'users', [sa.literal_column('lower(username)')], unique=True)
    op.create_table('access_tokens',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.String(length=50), nullable=False),
    sa.Column('prefix', sa.String(length=8), nullable=False),
    sa.Column('secret_hash', sa.LargeBinary(length=32), nullable=False),
    sa.Column('origin', sa.Enum('purchase', 'demo', name='tokenorigin', native_enum=False, length=32), nullable=False),
    sa.Column('scope', sa.String(length=64), nullable=False),
    sa.Column('duration_hours', sa.Integer(), nullable=False),
    sa.Column('paid_seconds', sa.BigInteger(), nullable=False),
    sa.Column('paused_seconds', sa.BigInteger(), nullable=False),
    sa.Column('credited_seconds', sa.BigInteger(), nullable=False),
    sa.Column('price_paid', sa.Numeric(precision=18, scale=2), nullable=False),
    sa.Column('activated_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('paused_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('refund_amount', sa.Numeric(precision=18, scale=2), nullable=True),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('(revoked_at IS NULL) = (refund_amount IS NULL)', name=op.f('ck_access_tokens_revoked_with_refund')),
    sa.CheckConstraint('paid_seconds > 0', name=op.f('ck_access_tokens_paid_seconds_positive')),
    sa.CheckConstraint('paused_at IS NULL OR activated_at IS NOT NULL', name=op.f('ck_access_tokens_paused_after_activation')),
    sa.CheckConstraint('paused_seconds >= 0 AND credited_seconds >= 0', name=op.f('ck_access_tokens_added_seconds_not_negative')),
    sa.CheckConstraint('price_paid >= 0', name=op.f('ck_access_tokens_price_not_negative')),
    sa.CheckConstraint('refund_amount <= price_paid', name=op.f('ck_access_tokens_refund_within_price')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_access_tokens_user_id_users'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_access_tokens')),
    sa.UniqueConstraint('secret_hash', name=op.f('uq_access_tokens_secret_hash'))
    )
    op.create_index('ix_access_tokens_prefix', 'access_tokens', ['prefix'], unique=False)
    op.create_index('ix_access_tokens_user_id_created_at', 'access_tokens', ['user_id', 'created_at'], unique=False)
    op.create_table('accounts',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('kind', sa.Enum('wallet', 'payments_received', 'sales', 'adjustments', name='accountkind', native_enum=False, length=32), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=True),
    sa.Column('balance', sa.Numeric(precision=18, scale=2), server_default=sa.text('0'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("(kind = 'wallet') = (user_id IS NOT NULL)", name=op.f('ck_accounts_owner')),
    sa.CheckConstraint("kind <> 'wallet' OR balance >= 0", name=op.f('ck_accounts_wallet_not_negative')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_accounts_user_id_users'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_accounts'))
    )
    op.create_index('uq_accounts_system', 'accounts', ['kind'], unique=True, postgresql_where=sa.text('user_id IS NULL'))
    op.create_index('uq_accounts_wallet', 'accounts', ['user_id'], unique=True, postgresql_where=sa.text("kind = 'wallet'"))
    op.create_table('audit_entries',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('action', sa.Enum('user.registered', 'user.logged_in', 'user.login_failed', 'user.logged_out', 'user.password_changed', 'user.disabled', 'user.enabled', 'balance.adjusted', 'payment.created', 'payment.settled', 'payment.canceled', 'payment.expired', 'token.purchased', 'token.activated', 'token.revoked', 'token.issued', 'session.opened', 'session.taken_over', 'session.released', name='auditaction', native_enum=False, length=64), nullable=False),
    sa.Column('actor_id', sa.Uuid(), nullable=True),
    sa.Column('user_id', sa.Uuid(), nullable=True),
    sa.Column('resource_type', sa.String(length=64), nullable=False),
    sa.Column('resource_id', sa.Uuid(), nullable=True),
    sa.Column('ip_address', sa.String(length=45), nullable=True),
    sa.Column('user_agent', sa.String(length=300), nullable=True),
    sa.Column('details', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False),
    sa.ForeignKeyConstraint(['actor_id'], ['users.id'], name=op.f('fk_audit_entries_actor_id_users'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_audit_entries_user_id_users'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_audit_entries'))
    )
    op.create_index('ix_audit_entries_action_id', 'audit_entries', ['action', sa.literal_column('id DESC')], unique=False)
    op.create_index('ix_audit_entries_created_at', 'audit_entries', ['created_at'], unique=False)
    op.create_index('ix_audit_entries_resource', 'audit_entries', ['resource_type', 'resource_id'], unique=False)
    op.create_index('ix_audit_entries_user_id_id', 'audit_entries', ['user_id', sa.literal_column('id DESC')], unique=False)
    op.create_table('outbox_mails',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=True),
    sa.Column('kind', sa.String(length=64), nullable=False),
    sa.Column('recipient', sa.String(length=254), nullable=False),
    sa.Column('context', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False),
    sa.Column('dedup_key', sa.String(length=120), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('next_attempt_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('last_error', sa.String(length=300), nullable=True),
    sa.Column('sent_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('failed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_outbox_mails_user_id_users'), ondelete='SET NULL'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_outbox_mails')),
    sa.UniqueConstraint('dedup_key', name=op.f('uq_outbox_mails_dedup_key'))
    )
    op.create_index('ix_outbox_mails_waiting', 'outbox_mails', ['next_attempt_at'], unique=False, postgresql_where=sa.text('sent_at IS NULL AND failed_at IS NULL'))
    op.create_table('payments',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('provider', sa.String(length=64), nullable=False),
    sa.Column('provider_payment_id', sa.String(length=120), nullable=True),
    sa.Column('amount_znc', sa.Numeric(precision=18, scale=2), nullable=False),
    sa.Column('amount_rub', sa.Numeric(precision=18, scale=2), nullable=False),
    sa.Column('rub_per_znc', sa.Numeric(precision=12, scale=2), nullable=False),
    sa.Column('status', sa.Enum('pending', 'succeeded', 'canceled', 'expired', name='paymentstatus', native_enum=False, length=32), nullable=False),
    sa.Column('return_url', sa.String(length=500), nullable=False),
    sa.Column('checkout_url', sa.String(length=500), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('settled_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("(status = 'succeeded') = (settled_at IS NOT NULL)", name=op.f('ck_payments_settled')),
    sa.CheckConstraint('amount_rub > 0', name=op.f('ck_payments_amount_rub_positive')),
    sa.CheckConstraint('amount_znc > 0', name=op.f('ck_payments_amount_znc_positive')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_payments_user_id_users'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_payments')),
    sa.UniqueConstraint('provider', 'provider_payment_id', name=op.f('uq_payments_provider_provider_payment_id'))
    )
    op.create_index('ix_payments_pending', 'payments', ['created_at'], unique=False, postgresql_where=sa.text("status = 'pending'"))
    op.create_index('ix_payments_user_id_created_at', 'payments', ['user_id', 'created_at'], unique=False)
    op.create_table('mock_checkouts',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('payment_id', sa.Uuid(), nullable=False),
    sa.Column('amount_rub', sa.Numeric(precision=18, scale=2), nullable=False),
    sa.Column('outcome', sa.String(length=20), nullable=True),
    sa.Column('event_id', sa.Uuid(), nullable=False),
    sa.Column('decided_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['payment_id'], ['payments.id'], name=op.f('fk_mock_checkouts_payment_id_payments'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_mock_checkouts')),
    sa.UniqueConstraint('payment_id', name=op.f('uq_mock_checkouts_payment_id'))
    )
    op.create_table('payment_events',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('provider', sa.String(length=64), nullable=False),
    sa.Column('event_id', sa.String(length=120), nullable=False),
    sa.Column('payment_id', sa.Uuid(), nullable=False),
    sa.Column('outcome', sa.String(length=64), nullable=False),
    sa.Column('body', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('received_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('processed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('result', sa.String(length=200), nullable=True),
    sa.ForeignKeyConstraint(['payment_id'], ['payments.id'], name=op.f('fk_payment_events_payment_id_payments'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_payment_events')),
    sa.UniqueConstraint('provider', 'event_id', name=op.f('uq_payment_events_provider_event_id'))
    )
    op.create_index(op.f('ix_payment_events_payment_id'), 'payment_events', ['payment_id'], unique=False)
    op.create_index('ix_payment_events_waiting', 'payment_events', ['received_at'], unique=False, postgresql_where=sa.text('processed_at IS NULL'))
    op.create_table('proxy_sessions',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('token_id', sa.Uuid(), nullable=False),
    sa.Column('device_id', sa.String(length=255), nullable=True),
    sa.Column('ip_address', sa.String(length=45), nullable=False),
    sa.Column('user_agent', sa.String(length=300), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('last_activity', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('request_count', sa.BigInteger(), nullable=False),
    sa.Column('bytes_in', sa.BigInteger(), nullable=False),
    sa.Column('bytes_out', sa.BigInteger(), nullable=False),
    sa.CheckConstraint('request_count >= 0 AND bytes_in >= 0 AND bytes_out >= 0', name=op.f('ck_proxy_sessions_counts_not_negative')),
    sa.ForeignKeyConstraint(['token_id'], ['access_tokens.id'], name=op.f('fk_proxy_sessions_token_id_access_tokens'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_proxy_sessions_user_id_users'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_proxy_sessions'))
    )
    op.create_index('ix_proxy_sessions_idle', 'proxy_sessions', ['last_activity'], unique=False, postgresql_where=sa.text('ended_at IS NULL'))
    op.create_index('ix_proxy_sessions_started_at', 'proxy_sessions', ['started_at'], unique=False)
    op.create_index('ix_proxy_sessions_token_id_started_at', 'proxy_sessions', ['token_id', 'started_at'], unique=False)
    op.create_index('ix_proxy_sessions_user_id_started_at', 'proxy_sessions', ['user_id', 'started_at'], unique=False)
    op.create_index('uq_proxy_sessions_open', 'proxy_sessions', ['token_id'], unique=True, postgresql_where=sa.text('ended_at IS NULL'))
    op.create_table('transfers',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('kind', sa.Enum('deposit', 'purchase', 'refund', 'adjustment', name='transferkind', native_enum=False, length=32), nullable=False),
    sa.Column('debit_account_id', sa.Uuid(), nullable=False),
    sa.Column('credit_account_id', sa.Uuid(), nullable=False),
    sa.Column('amount', sa.Numeric(precision=18, scale=2), nullable=False),
    sa.Column('description', sa.String(length=200), nullable=False),
    sa.Column('reference_type', sa.String(length=64), nullable=False),
    sa.Column('reference_id', sa.Uuid(), nullable=False),
    sa.Column('idempotency_key', sa.String(length=120), nullable=False),
    sa.Column('actor_id', sa.Uuid(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('amount > 0', name=op.f('ck_transfers_amount_positive')),
    sa.CheckConstraint('debit_account_id <> credit_account_id', name=op.f('ck_transfers_two_accounts')),
    sa.ForeignKeyConstraint(['actor_id'], ['users.id'], name=op.f('fk_transfers_actor_id_users'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['credit_account_id'], ['accounts.id'], name=op.f('fk_transfers_credit_account_id_accounts'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['debit_account_id'], ['accounts.id'], name=op.f('fk_transfers_debit_account_id_accounts'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_transfers')),
    sa.UniqueConstraint('idempotency_key', name=op.f('uq_transfers_idempotency_key'))
    )
    op.create_index(op.f('ix_transfers_created_at'), 'transfers', ['created_at'], unique=False)
    op.create_index('ix_transfers_credit_account_id_created_at', 'transfers', ['credit_account_id', 'created_at'], unique=False)
    op.create_index('ix_transfers_debit_account_id_created_at', 'transfers', ['debit_account_id', 'created_at'], unique=False)
    op.create_index('ix_transfers_reference', 'transfers', ['reference_type', 'reference_id'], unique=False)

    # Transfers are only ever added: the database itself holds this, whoever asks.
    op.execute(
        """
        CREATE FUNCTION refuse_to_rewrite_history() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER transfers_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_rewrite_history()"
    )
    # The platform's own accounts, one of each.
    op.execute(
        "INSERT INTO accounts (id, kind) SELECT gen_random_uuid(), kind"
        " FROM unnest(ARRAY['payments_received', 'sales', 'adjustments']) AS kind"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER transfers_append_only ON transfers")
    op.execute("DROP FUNCTION refuse_to_rewrite_history()")
    op.drop_index('ix_transfers_reference', table_name='transfers')
    op.drop_index('ix_transfers_debit_account_id_created_at', table_name='transfers')
    op.drop_index('ix_transfers_credit_account_id_created_at', table_name='transfers')
    op.drop_index(op.f('ix_transfers_created_at'), table_name='transfers')
    op.drop_table('transfers')
    op.drop_index('uq_proxy_sessions_open', table_name='proxy_sessions', postgresql_where=sa.text('ended_at IS NULL'))
    op.drop_index('ix_proxy_sessions_user_id_started_at', table_name='proxy_sessions')
    op.drop_index('ix_proxy_sessions_token_id_started_at', table_name='proxy_sessions')
    op.drop_index('ix_proxy_sessions_started_at', table_name='proxy_sessions')
    op.drop_index('ix_proxy_sessions_idle', table_name='proxy_sessions', postgresql_where=sa.text('ended_at IS NULL'))
    op.drop_table('proxy_sessions')
    op.drop_index('ix_payment_events_waiting', table_name='payment_events', postgresql_where=sa.text('processed_at IS NULL'))
    op.drop_index(op.f('ix_payment_events_payment_id'), table_name='payment_events')
    op.drop_table('payment_events')
    op.drop_table('mock_checkouts')
    op.drop_index('ix_payments_user_id_created_at', table_name='payments')
    op.drop_index('ix_payments_pending', table_name='payments', postgresql_where=sa.text("status = 'pending'"))
    op.drop_table('payments')
    op.drop_index('ix_outbox_mails_waiting', table_name='outbox_mails', postgresql_where=sa.text('sent_at IS NULL AND failed_at IS NULL'))
    op.drop_table('outbox_mails')
    op.drop_index('ix_audit_entries_user_id_id', table_name='audit_entries')
    op.drop_index('ix_audit_entries_resource', table_name='audit_entries')
    op.drop_index('ix_audit_entries_created_at', table_name='audit_entries')
    op.drop_index('ix_audit_entries_action_id', table_name='audit_entries')
    op.drop_table('audit_entries')
    op.drop_index('uq_accounts_wallet', table_name='accounts', postgresql_where=sa.text("kind = 'wallet'"))
    op.drop_index('uq_accounts_system', table_name='accounts', postgresql_where=sa.text('user_id IS NULL'))
    op.drop_table('accounts')
    op.drop_index('ix_access_tokens_user_id_created_at', table_name='access_tokens')
    op.drop_index('ix_access_tokens_prefix', table_name='access_tokens')
    op.drop_table('access_tokens')
    op.drop_index('uq_users_username', table_name='users')
    op.drop_index('uq_users_email', table_name='users')
    op.drop_index(op.f('ix_users_created_at'), table_name='users')
    op.drop_table('users')
