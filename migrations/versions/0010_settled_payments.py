"""Find the payments that were settled in a range of days, as the reconciliation asks."""

import sqlalchemy as sa
from alembic import op

revision = "0010_settled_payments"
down_revision = '0019_overview'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_payments_settled_at", "payments", ["settled_at"], postgresql_where=sa.text("settled_at IS NOT NULL")
    )
    op.create_index("ix_payment_reversals_created_at", "payment_reversals", ["created_at"])


def downgrade() -> None:
    op.drop_index("ix_payment_reversals_created_at", "payment_reversals")
    op.drop_index("ix_payments_settled_at", "payments")
