"""What notices start from: known devices, told ends of tokens, and lists of mails by where they stand."""

import sqlalchemy as sa
from alembic import op

revision = '0021_notice_triggers'
down_revision = '0018_office_lists'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'known_devices',
        sa.Column('user_id', sa.Uuid(), nullable=False),
        sa.Column('mark', sa.LargeBinary(length=32), nullable=False),
        sa.Column('seen_at', sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ['user_id'], ['users.id'], name=op.f('fk_known_devices_user_id_users'), ondelete='CASCADE'
        ),
        sa.PrimaryKeyConstraint('user_id', 'mark', name=op.f('pk_known_devices')),
    )
    op.create_index('ix_known_devices_seen_at', 'known_devices', ['seen_at'])
    op.add_column('access_tokens', sa.Column('end_told_for', sa.BigInteger(), nullable=True))
    for column in ('sent_at', 'failed_at'):
        where = sa.text(f'{column} IS NOT NULL')
        op.create_index(f'ix_outbox_mails_{column}', 'outbox_mails', [column], postgresql_where=where)


def downgrade() -> None:
    op.drop_index('ix_outbox_mails_failed_at', 'outbox_mails')
    op.drop_index('ix_outbox_mails_sent_at', 'outbox_mails')
    op.drop_column('access_tokens', 'end_told_for')
    op.drop_table('known_devices')
