"""Purchases of each day, and all days since the first, so that the whole is added up from days."""

import sqlalchemy as sa
from alembic import op

revision = '0027_purchases_by_day'
down_revision = '0026_audit_chain'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('day_figures', sa.Column('purchases', sa.Integer(), server_default=sa.text('0'), nullable=False))
    op.execute(
        """
        INSERT INTO day_figures (day, sold_znc, revenue_rub, new_users, purchases)
        SELECT day, sum(sold), sum(paid), sum(come), sum(bought) FROM (
            SELECT CAST(created_at AT TIME ZONE 'UTC' AS date) AS day, amount AS sold, 0 AS paid, 0 AS come, 1 AS bought
                FROM transfers WHERE kind = 'purchase'
            UNION ALL SELECT CAST(settled_at AT TIME ZONE 'UTC' AS date), 0, amount_rub, 0, 0
                FROM payments WHERE settled_at IS NOT NULL
            UNION ALL SELECT CAST(created_at AT TIME ZONE 'UTC' AS date), 0, 0, 1, 0 FROM users) AS happened
        GROUP BY day
        ON CONFLICT (day) DO UPDATE SET sold_znc = excluded.sold_znc, revenue_rub = excluded.revenue_rub,
            new_users = excluded.new_users, purchases = excluded.purchases
        """
    )


def downgrade() -> None:
    op.drop_column('day_figures', 'purchases')
