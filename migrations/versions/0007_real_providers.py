"""What real payment providers need: a second id for a payment, and room for long checkout addresses."""

import sqlalchemy as sa
from alembic import op

revision = '0007_real_providers'
down_revision = '0006_reversals'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('payments', sa.Column('provider_charge_id', sa.String(length=120), nullable=True))
    op.create_unique_constraint(op.f('uq_payments_provider_provider_charge_id'), 'payments', ['provider', 'provider_charge_id'])
    op.alter_column('payments', 'checkout_url', type_=sa.String(length=2000), existing_type=sa.String(length=500), existing_nullable=False)


def downgrade() -> None:
    op.alter_column('payments', 'checkout_url', type_=sa.String(length=500), existing_type=sa.String(length=2000), existing_nullable=False, postgresql_using='left(checkout_url, 500)')
    op.drop_column('payments', 'provider_charge_id')
