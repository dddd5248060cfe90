"""Accounts for bonuses that are held, for what a user owes, and for what the platform gives."""

from alembic import op

revision = '0004_more_accounts'
down_revision = '0003_browser_entries'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index('uq_accounts_wallet', table_name='accounts')
    op.drop_constraint('ck_accounts_wallet_not_negative', 'accounts')
    op.drop_constraint('ck_accounts_owner', 'accounts')
    op.create_index('uq_accounts_personal', 'accounts', ['user_id', 'kind'], unique=True, postgresql_where="user_id IS NOT NULL")
    op.create_check_constraint(op.f('ck_accounts_owner'), 'accounts', "(kind IN ('wallet', 'held', 'receivable')) = (user_id IS NOT NULL)")
    op.create_check_constraint(op.f('ck_accounts_own_not_negative'), 'accounts', "kind NOT IN ('wallet', 'held') OR balance >= 0")
    op.create_check_constraint(op.f('ck_accounts_receivable_not_positive'), 'accounts', "kind <> 'receivable' OR balance <= 0")
    op.execute("INSERT INTO accounts (id, kind) SELECT gen_random_uuid(), kind FROM unnest(ARRAY['bonuses', 'gifts']) AS kind")


def downgrade() -> None:
    op.execute("DELETE FROM accounts WHERE kind IN ('bonuses', 'gifts', 'held', 'receivable')")
    op.drop_constraint('ck_accounts_receivable_not_positive', 'accounts')
    op.drop_constraint('ck_accounts_own_not_negative', 'accounts')
    op.drop_constraint('ck_accounts_owner', 'accounts')
    op.drop_index('uq_accounts_personal', table_name='accounts')
    op.create_index('uq_accounts_wallet', 'accounts', ['user_id'], unique=True, postgresql_where="kind = 'wallet'")
    op.create_check_constraint(op.f('ck_accounts_wallet_not_negative'), 'accounts', "kind <> 'wallet' OR balance >= 0")
    op.create_check_constraint(op.f('ck_accounts_owner'), 'accounts', "(kind = 'wallet') = (user_id IS NOT NULL)")
