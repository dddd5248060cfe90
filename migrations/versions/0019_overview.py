"""Announcements, figures by day and results of the ledger's verification, for the office's first page."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0019_overview'
down_revision = '0016_long_lists'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'announcements',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('level', sa.String(length=8), nullable=False),
        sa.Column('words_en', sa.String(length=300), nullable=False),
        sa.Column('words_ru', sa.String(length=300), nullable=False),
        sa.Column('starts_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('ends_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('withdrawn_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('author_id', sa.Uuid(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.CheckConstraint('ends_at > starts_at', name=op.f('ck_announcements_ends_after_start')),
        sa.ForeignKeyConstraint(
            ['author_id'], ['users.id'], name=op.f('fk_announcements_author_id_users'), ondelete='RESTRICT'
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_announcements')),
    )
    op.create_index(
        'ix_announcements_showing', 'announcements', ['starts_at'], postgresql_where=sa.text('withdrawn_at IS NULL')
    )
    op.create_table(
        'day_figures',
        sa.Column('day', sa.Date(), nullable=False),
        sa.Column('sold_znc', sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column('revenue_rub', sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column('new_users', sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint('day', name=op.f('pk_day_figures')),
    )
    op.create_table(
        'ledger_checks',
        sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column('checked_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('is_sound', sa.Boolean(), nullable=False),
        sa.Column('faults', postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_ledger_checks')),
    )


def downgrade() -> None:
    op.drop_table('ledger_checks')
    op.drop_table('day_figures')
    op.drop_table('announcements')
