"""Admins may have finished flows shown for a time."""

import sqlalchemy as sa
from alembic import op

revision = '0025_inspections'
down_revision = '0010_settled_payments'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'inspections',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('target', sa.String(length=16), nullable=False),
        sa.Column('path', sa.String(length=200), nullable=True),
        sa.Column('token_id', sa.Uuid(), nullable=True),
        sa.Column('user_id', sa.Uuid(), nullable=True),
        sa.Column('reason', sa.String(length=200), nullable=False),
        sa.Column('started_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('started_by_id', sa.Uuid(), nullable=False),
        sa.Column('ends_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('ended_by_id', sa.Uuid(), nullable=True),
        sa.CheckConstraint("(target = 'path') = (path IS NOT NULL)", name=op.f('ck_inspections_path_of_a_path')),
        sa.CheckConstraint("(target = 'token') = (token_id IS NOT NULL)", name=op.f('ck_inspections_token_of_a_token')),
        sa.CheckConstraint("(target = 'user') = (user_id IS NOT NULL)", name=op.f('ck_inspections_user_of_a_user')),
        sa.CheckConstraint("ends_at > started_at AND ends_at - started_at <= interval '1 day'", name=op.f('ck_inspections_ends_within_a_day')),
        sa.CheckConstraint('(ended_at IS NULL) = (ended_by_id IS NULL)', name=op.f('ck_inspections_ended_by_somebody')),
        sa.ForeignKeyConstraint(['ended_by_id'], ['users.id'], name='fk_inspections_ended_by_id_users', ondelete='RESTRICT'),
        sa.ForeignKeyConstraint(['started_by_id'], ['users.id'], name='fk_inspections_started_by_id_users', ondelete='RESTRICT'),
        sa.ForeignKeyConstraint(['token_id'], ['access_tokens.id'], name='fk_inspections_token_id_access_tokens', ondelete='RESTRICT'),
        sa.ForeignKeyConstraint(['user_id'], ['users.id'], name='fk_inspections_user_id_users', ondelete='RESTRICT'),
        sa.PrimaryKeyConstraint('id', name='pk_inspections'),
    )
    op.create_index('ix_inspections_started_at_id', 'inspections', [sa.text('started_at DESC'), 'id'])
    op.create_index('ix_inspections_running', 'inspections', ['ends_at'], postgresql_where=sa.text('ended_at IS NULL'))


def downgrade() -> None:
    op.drop_table('inspections')
