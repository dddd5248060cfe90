"""How many tokens were credited for an outage, and how much, beside the outage."""

import sqlalchemy as sa
from alembic import op

revision = '0031_credited_sums'
down_revision = '0030_payment_days'
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ('credited_tokens', 'credited_seconds'):
        op.add_column('outages', sa.Column(name, sa.BigInteger(), server_default=sa.text('0'), nullable=False))
    op.execute(
        """
        UPDATE outages SET credited_tokens = given.tokens, credited_seconds = given.seconds
        FROM (SELECT outage_id, count(*) AS tokens, sum(seconds) AS seconds FROM outage_credits WHERE seconds > 0
            GROUP BY outage_id) AS given
        WHERE outages.id = given.outage_id
        """
    )


def downgrade() -> None:
    op.drop_column('outages', 'credited_seconds')
    op.drop_column('outages', 'credited_tokens')
