"""Settings may be changed at run time, with history."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0017_setting_changes'
down_revision = '0013_mailed_links'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'setting_changes',
        sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column('key', sa.String(length=64), nullable=False),
        sa.Column('value', postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column('actor_id', sa.Uuid(), nullable=True),
        sa.Column('reason', sa.String(length=200), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.ForeignKeyConstraint(['actor_id'], ['users.id'], name='fk_setting_changes_actor_id_users', ondelete='RESTRICT'),
        sa.PrimaryKeyConstraint('id', name='pk_setting_changes'),
    )
    op.create_index('ix_setting_changes_key_id', 'setting_changes', ['key', sa.text('id DESC')])


def downgrade() -> None:
    op.drop_table('setting_changes')
