"""The price of a renewal that its owner was told: more is not taken."""

import sqlalchemy as sa
from alembic import op

revision = '0062_renewal_prices'
down_revision = '0070_user_time_zone'
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ('renewal_price', 'renewal_asked_price'):
        op.add_column('access_tokens', sa.Column(name, sa.Numeric(precision=18, scale=2), nullable=True))
    # What the mails of the running periods said. Whose mail is gone is asked anew.
    op.execute(
        """
        UPDATE access_tokens SET renewal_price = (outbox_mails.context ->> 'price')::numeric
        FROM outbox_mails WHERE auto_renew AND revoked_at IS NULL
            AND outbox_mails.dedup_key = 'renewal_ahead:' || access_tokens.id || ':' || access_tokens.paid_seconds
        """
    )


def downgrade() -> None:
    for name in ('renewal_asked_price', 'renewal_price'):
        op.drop_column('access_tokens', name)
