"""Two-factor login, deleted accounts, and admins who view the portal as a user."""

import sqlalchemy as sa
from alembic import op

revision = '0014_two_factor'
down_revision = '0022_webhooks'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('two_factors',
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('sealed_secret', sa.LargeBinary(), nullable=False),
    sa.Column('last_step', sa.BigInteger(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('confirmed_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_two_factors_user_id_users'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('user_id', name=op.f('pk_two_factors'))
    )
    op.create_table('recovery_codes',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('code_hash', sa.LargeBinary(length=32), nullable=False),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_recovery_codes_user_id_users'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_recovery_codes')),
    sa.UniqueConstraint('code_hash', name=op.f('uq_recovery_codes_code_hash'))
    )
    op.create_index('ix_recovery_codes_user_id', 'recovery_codes', ['user_id'])
    op.add_column('users', sa.Column('deleted_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('logins', sa.Column('viewed_user_id', sa.Uuid(), nullable=True))
    op.add_column('logins', sa.Column('viewed_until', sa.DateTime(timezone=True), nullable=True))
    op.create_foreign_key(op.f('fk_logins_viewed_user_id_users'), 'logins', 'users', ['viewed_user_id'], ['id'], ondelete='SET NULL')


def downgrade() -> None:
    op.drop_column('logins', 'viewed_until')
    op.drop_column('logins', 'viewed_user_id')
    op.drop_column('users', 'deleted_at')
    op.drop_table('recovery_codes')
    op.drop_table('two_factors')
