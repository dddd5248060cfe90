"""What of a referral bonus is withheld because its buyer's money went back."""

import sqlalchemy as sa
from alembic import op

revision = '0063_withheld_bonuses'
down_revision = '0062_renewal_prices'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('referral_bonuses', sa.Column('withheld', sa.Numeric(precision=18, scale=2), server_default=sa.text('0'), nullable=False))
    op.create_check_constraint(op.f('ck_referral_bonuses_withheld_within'), 'referral_bonuses', 'withheld BETWEEN 0 AND amount - returned')
    op.create_index('ix_referral_bonuses_withheld', 'referral_bonuses', ['created_at'], postgresql_where=sa.text('withheld > 0'))


def downgrade() -> None:
    op.drop_index('ix_referral_bonuses_withheld', table_name='referral_bonuses')
    op.drop_constraint(op.f('ck_referral_bonuses_withheld_within'), 'referral_bonuses')
    op.drop_column('referral_bonuses', 'withheld')
