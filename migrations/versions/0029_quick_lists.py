"""Indexes that let long lists be counted, added up and leafed through without a look at the rows themselves."""

import sqlalchemy as sa
from alembic import op

revision = '0029_quick_lists'
down_revision = '0025_inspections'
branch_labels = None
depends_on = None

ENDS = (
    "((activated_at AT TIME ZONE 'UTC') + make_interval(secs => "
    '(paid_seconds + paused_seconds + credited_seconds)::double precision))'
)
RUNS = 'revoked_at IS NULL AND activated_at IS NOT NULL AND paused_at IS NULL'
SIDES = ('debit_account_id', 'credit_account_id')
NEWEST = (('payments', 'created_at'), ('proxy_sessions', 'started_at'), ('users', 'created_at'))
STATE = ['activated_at', 'paused_at', 'revoked_at', 'paid_seconds', 'paused_seconds', 'credited_seconds']
# Name, table, what stands before the time, the time, and of which rows: each list in its order, ties included.
LISTS = (
    ('ix_access_tokens_revoked', 'access_tokens', None, 'created_at DESC', 'revoked_at IS NOT NULL'),
    ('ix_payments_status', 'payments', 'status', 'created_at DESC', None),
    ('ix_proxy_sessions_open', 'proxy_sessions', None, 'started_at DESC', 'ended_at IS NULL'),
    ('ix_users_active', 'users', None, 'created_at DESC', 'is_active'),
)
# The same for lists that had an index without the ties: its name, table, and what follows as above.
LONGER = (
    ('ix_users_referrer_id', 'users', 'referrer_id', 'created_at DESC', None),
    ('ix_proxy_sessions_token_id_started_at', 'proxy_sessions', 'token_id', 'started_at DESC', None),
    ('ix_outbox_mails_sent_at', 'outbox_mails', None, 'sent_at DESC', 'sent_at IS NOT NULL'),
    ('ix_webhook_deliveries_log', 'webhook_deliveries', 'endpoint_id', 'created_at DESC', None),
    (
        *('ix_webhook_deliveries_delivered_at', 'webhook_deliveries', None),
        *('delivered_at DESC', 'delivered_at IS NOT NULL'),
    ),
)


def make(name: str, table: str, first: str | None, order: str, where: str | None, *, ties: bool = True) -> None:
    columns = [*([first] if first else []), sa.text(order)] + (['id'] if ties else [])
    op.create_index(name, table, columns, postgresql_where=sa.text(where) if where else None)


def upgrade() -> None:
    for side in SIDES:
        op.drop_index(f'ix_transfers_{side}_created_at', 'transfers')
        op.create_index(
            f'ix_transfers_{side}_created_at', 'transfers', [side, 'created_at', 'id'], postgresql_include=['amount', 'kind']
        )
    for table, column in NEWEST:
        op.drop_index(f'ix_{table}_{column}', table)
        op.create_index(f'ix_{table}_{column}', table, [sa.text(f'{column} DESC'), 'id'])
    # PostgreSQL reads an expression from an index only where the columns that it is made of stand there, too.
    op.drop_index('ix_access_tokens_ends', 'access_tokens')
    op.create_index(
        'ix_access_tokens_ends',
        'access_tokens',
        [sa.text(ENDS)],
        postgresql_where=sa.text(RUNS),
        postgresql_include=['activated_at', 'paid_seconds', 'paused_seconds', 'credited_seconds'],
    )
    op.create_index(
        'ix_access_tokens_user_id_ends', 'access_tokens', ['user_id', sa.text(ENDS)], postgresql_where=sa.text(RUNS)
    )
    for name, rests in (('unused', 'activated_at IS NULL'), ('paused', 'paused_at IS NOT NULL')):
        where = sa.text(f'revoked_at IS NULL AND {rests}')
        op.create_index(f'ix_access_tokens_user_id_{name}', 'access_tokens', ['user_id'], postgresql_where=where)
    # Of which state a token is, is seen in the index, too.
    op.drop_index('ix_access_tokens_created_at', 'access_tokens')
    op.create_index(
        'ix_access_tokens_created_at', 'access_tokens', [sa.text('created_at DESC'), 'id'], postgresql_include=STATE
    )
    for listed in LISTS:
        make(*listed)
    for listed in LONGER:
        op.drop_index(listed[0], listed[1])
        make(*listed)
    op.drop_index('ix_accounts_wallet_balance', 'accounts')
    op.create_index(
        'ix_accounts_wallet_balance', 'accounts', ['balance', 'user_id'], postgresql_where=sa.text("kind = 'wallet'")
    )
    # The beginning of a token is looked for, which an index in the order of a language does not find.
    op.drop_index('ix_access_tokens_prefix', 'access_tokens')
    op.create_index(
        'ix_access_tokens_prefix', 'access_tokens', ['prefix'], postgresql_ops={'prefix': 'text_pattern_ops'}
    )


def downgrade() -> None:
    op.drop_index('ix_access_tokens_prefix', 'access_tokens')
    op.create_index('ix_access_tokens_prefix', 'access_tokens', ['prefix'])
    op.drop_index('ix_accounts_wallet_balance', 'accounts')
    op.create_index(
        'ix_accounts_wallet_balance', 'accounts', ['balance'], postgresql_where=sa.text("kind = 'wallet'")
    )
    for name, table, first, order, where in LONGER:
        op.drop_index(name, table)
        if name == 'ix_users_referrer_id':
            op.create_index(name, table, [first])
        else:
            make(name, table, first, order.removesuffix(' DESC'), where, ties=False)
    for name, table, *_ in LISTS:
        op.drop_index(name, table)
    op.drop_index('ix_access_tokens_created_at', 'access_tokens')
    op.create_index('ix_access_tokens_created_at', 'access_tokens', ['created_at'])
    op.drop_index('ix_access_tokens_user_id_paused', 'access_tokens')
    op.drop_index('ix_access_tokens_user_id_unused', 'access_tokens')
    op.drop_index('ix_access_tokens_user_id_ends', 'access_tokens')
    op.drop_index('ix_access_tokens_ends', 'access_tokens')
    op.create_index('ix_access_tokens_ends', 'access_tokens', [sa.text(ENDS)], postgresql_where=sa.text(RUNS))
    for table, column in NEWEST:
        op.drop_index(f'ix_{table}_{column}', table)
        op.create_index(f'ix_{table}_{column}', table, [column])
    for side in SIDES:
        op.drop_index(f'ix_transfers_{side}_created_at', 'transfers')
        op.create_index(
            f'ix_transfers_{side}_created_at', 'transfers', [side, 'created_at'], postgresql_include=['amount']
        )
