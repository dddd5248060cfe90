"""How long the pause that is on may last, beside it, so that a token's end follows from its row alone."""

import sqlalchemy as sa
from alembic import op

revision = '0060_pause_limits'
down_revision = '0040_leases'
branch_labels = None
depends_on = None

OLD_ENDS = sa.text(
    "((activated_at AT TIME ZONE 'UTC') + make_interval(secs => "
    "(paid_seconds + paused_seconds + credited_seconds)::double precision))"
)
NEW_ENDS = sa.text(
    "((activated_at AT TIME ZONE 'UTC') + make_interval(secs => (paid_seconds + "
    "paused_seconds + pause_limit_seconds + credited_seconds)::double precision))"
)
OLD_CLOCK = ['paid_seconds', 'paused_seconds', 'credited_seconds']
NEW_CLOCK = ['paid_seconds', 'paused_seconds', 'pause_limit_seconds', 'credited_seconds']
# What the setting [pause] in_all_days is unless it was changed.
LONGEST_SECONDS = 30 * 86400


def upgrade() -> None:
    op.execute("SET LOCAL statement_timeout = 0")
    op.add_column('access_tokens', sa.Column('pause_limit_seconds', sa.BigInteger(), server_default=sa.text('0'), nullable=False))
    # A limit of a second stands for none: a pause has one above zero.
    op.execute(
        f"UPDATE access_tokens SET pause_limit_seconds = greatest(1, {LONGEST_SECONDS} - paused_seconds)"
        " WHERE paused_at IS NOT NULL"
    )
    op.create_check_constraint(op.f('ck_access_tokens_paused_with_limit'), 'access_tokens', '(paused_at IS NULL) = (pause_limit_seconds = 0)')
    _drop_indexes()
    op.drop_index('ix_access_tokens_user_id_paused', table_name='access_tokens')
    _make_indexes(NEW_ENDS, NEW_CLOCK, ['activated_at', 'paused_at', *NEW_CLOCK], 'revoked_at IS NULL AND activated_at IS NOT NULL')


def downgrade() -> None:
    op.execute("SET LOCAL statement_timeout = 0")
    _drop_indexes()
    op.drop_constraint('ck_access_tokens_paused_with_limit', 'access_tokens')
    op.drop_column('access_tokens', 'pause_limit_seconds')
    op.create_index('ix_access_tokens_user_id_paused', 'access_tokens', ['user_id'], postgresql_where=sa.text('revoked_at IS NULL AND paused_at IS NOT NULL'))
    _make_indexes(OLD_ENDS, OLD_CLOCK, ['activated_at', *OLD_CLOCK], 'revoked_at IS NULL AND activated_at IS NOT NULL AND paused_at IS NULL')


def _drop_indexes() -> None:
    for name in ('created_at', 'ends', 'user_id_ends'):
        op.drop_index(f'ix_access_tokens_{name}', table_name='access_tokens')


def _make_indexes(ends: sa.TextClause, clock: list[str], beside_ends: list[str], started: str) -> None:
    op.create_index(
        'ix_access_tokens_created_at', 'access_tokens', [sa.text('created_at DESC'), 'id'],
        postgresql_include=['activated_at', 'paused_at', 'revoked_at', *clock],
    )
    op.create_index('ix_access_tokens_ends', 'access_tokens', [ends], postgresql_include=beside_ends, postgresql_where=sa.text(started))
    op.create_index('ix_access_tokens_user_id_ends', 'access_tokens', ['user_id', ends], postgresql_where=sa.text(started))
