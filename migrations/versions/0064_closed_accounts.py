"""Accounts of deleted users are closed, money for them is kept apart, and who comes back is recognised."""

import sqlalchemy as sa
from alembic import op

revision = '0064_closed_accounts'
down_revision = '0071_zone_of_days'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("INSERT INTO accounts (id, kind) VALUES (gen_random_uuid(), 'unclaimed')")
    op.add_column('accounts', sa.Column('closed_at', sa.DateTime(timezone=True), nullable=True))
    op.execute(
        """
        UPDATE accounts SET closed_at = users.deleted_at FROM users
        WHERE users.id = accounts.user_id AND users.deleted_at IS NOT NULL AND kind IN ('wallet', 'held')
        """
    )
    # What came into such wallets after the deletion belongs to nobody who could spend it.
    op.execute(
        """
        INSERT INTO transfers (id, kind, debit_account_id, credit_account_id, amount, description, reference_type,
            reference_id, idempotency_key)
        SELECT gen_random_uuid(), 'reversal', wallet.id, pool.id, wallet.balance, 'Money for a deleted account', 'user',
            wallet.user_id, 'unclaimed:' || wallet.user_id
        FROM accounts wallet JOIN accounts pool ON pool.kind = 'unclaimed'
        WHERE wallet.kind = 'wallet' AND wallet.closed_at IS NOT NULL AND wallet.balance > 0
        """
    )
    op.execute(
        """
        UPDATE accounts SET balance = CASE kind WHEN 'wallet' THEN 0
            ELSE (SELECT coalesce(sum(balance), 0) FROM accounts WHERE kind = 'wallet' AND closed_at IS NOT NULL) END
        WHERE kind = 'unclaimed' OR (kind = 'wallet' AND closed_at IS NOT NULL)
        """
    )
    op.add_column('users', sa.Column('address_hash', sa.LargeBinary(length=32), nullable=True))
    op.add_column('users', sa.Column('former_id', sa.Uuid(), nullable=True))
    op.create_foreign_key(op.f('fk_users_former_id_users'), 'users', 'users', ['former_id'], ['id'], ondelete='RESTRICT')
    op.create_index(op.f('ix_users_address_hash'), 'users', ['address_hash'])
    op.create_index(op.f('ix_users_former_id'), 'users', ['former_id'])


def downgrade() -> None:
    # Transfers are never removed: where money came to deleted accounts, there is no way back.
    op.execute("DELETE FROM accounts WHERE kind = 'unclaimed'")
    op.drop_column('users', 'former_id')
    op.drop_column('users', 'address_hash')
    op.drop_column('accounts', 'closed_at')
