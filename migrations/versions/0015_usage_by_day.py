"""Usage by day, of each token and of all together."""

import sqlalchemy as sa
from alembic import op

revision = '0015_usage_by_day'
down_revision = '0024_api_replies'
branch_labels = None
depends_on = None


def upgrade() -> None:
    figures = ('requests', 'bytes_in', 'bytes_out', 'sessions')
    not_negative = ' AND '.join(f'{name} >= 0' for name in figures)
    op.create_table('token_usage_days',
    sa.Column('token_id', sa.Uuid(), nullable=False),
    sa.Column('day', sa.Date(), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=False),
    *(sa.Column(name, sa.BigInteger(), nullable=False) for name in figures),
    sa.CheckConstraint(not_negative, name=op.f('ck_token_usage_days_not_negative')),
    sa.PrimaryKeyConstraint('token_id', 'day', name=op.f('pk_token_usage_days'))
    )
    op.create_index('ix_token_usage_days_user_id_day', 'token_usage_days', ['user_id', 'day'])
    op.create_table('usage_days',
    sa.Column('day', sa.Date(), nullable=False),
    *(sa.Column(name, sa.BigInteger(), nullable=False) for name in figures),
    sa.CheckConstraint(not_negative, name=op.f('ck_usage_days_not_negative')),
    sa.PrimaryKeyConstraint('day', name=op.f('pk_usage_days'))
    )
    # What was counted so far is known by session only: it goes to the day on which the session was last used.
    op.execute("""INSERT INTO token_usage_days (token_id, day, user_id, requests, bytes_in, bytes_out, sessions)
        SELECT token_id, (last_activity AT TIME ZONE 'UTC')::date, user_id, sum(request_count), sum(bytes_in),
            sum(bytes_out), count(*) FILTER (WHERE request_count > 0)
        FROM proxy_sessions GROUP BY 1, 2, 3""")
    op.execute("""INSERT INTO usage_days (day, requests, bytes_in, bytes_out, sessions)
        SELECT day, sum(requests), sum(bytes_in), sum(bytes_out), sum(sessions) FROM token_usage_days GROUP BY 1""")


def downgrade() -> None:
    op.drop_table('usage_days')
    op.drop_index('ix_token_usage_days_user_id_day', table_name='token_usage_days')
    op.drop_table('token_usage_days')
