"""The price list at a token's purchase, and what a bundle's token cost of it, for refunds."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0061_prices_at_purchase'
down_revision = '0050_payment_follow_up'
branch_labels = None
depends_on = None

WITHIN = 'ck_access_tokens_refund_within_price'


def upgrade() -> None:
    op.add_column('access_tokens', sa.Column('list_prices', postgresql.JSONB(none_as_null=True), nullable=True))
    op.add_column('access_tokens', sa.Column('bundle_charge', sa.Numeric(precision=18, scale=2), nullable=True))
    op.drop_constraint(op.f(WITHIN), 'access_tokens')
    op.create_check_constraint(op.f(WITHIN), 'access_tokens', 'refund_amount <= price_paid OR bundle_purchase_id IS NOT NULL')


def downgrade() -> None:
    op.drop_constraint(op.f(WITHIN), 'access_tokens')
    op.create_check_constraint(op.f(WITHIN), 'access_tokens', 'refund_amount <= price_paid')
    op.drop_column('access_tokens', 'bundle_charge')
    op.drop_column('access_tokens', 'list_prices')
