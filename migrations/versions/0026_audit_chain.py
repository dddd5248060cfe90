"""The audit log: where a row came from, a chain of seals over it, what was exported, and rows that stay as they are."""

import sqlalchemy as sa
from alembic import op

revision = '0026_audit_chain'
down_revision = '0031_credited_sums'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        'audit_entries',
        sa.Column(
            'origin',
            sa.Enum('page', 'api', 'proxy', 'job', 'command', name='origin', native_enum=False, length=16),
            nullable=True,
        ),
    )
    op.create_table(
        'audit_seals',
        sa.Column('number', sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column('entry_id', sa.BigInteger(), nullable=False),
        sa.Column('sealed_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('hash', sa.LargeBinary(length=32), nullable=False),
        sa.CheckConstraint('number > 0', name=op.f('ck_audit_seals_number_positive')),
        sa.ForeignKeyConstraint(
            ['entry_id'], ['audit_entries.id'], name=op.f('fk_audit_seals_entry_id_audit_entries'), ondelete='CASCADE'
        ),
        sa.PrimaryKeyConstraint('number', name=op.f('pk_audit_seals')),
        sa.UniqueConstraint('entry_id', name=op.f('uq_audit_seals_entry_id')),
    )
    op.create_table(
        'audit_archives',
        sa.Column('last', sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column('first', sa.BigInteger(), nullable=False),
        sa.Column('anchor', sa.LargeBinary(length=32), nullable=False),
        sa.Column('head', sa.LargeBinary(length=32), nullable=False),
        sa.Column('newest_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('file', sa.String(length=100), nullable=False),
        sa.Column('sha256', sa.String(length=64), nullable=False),
        sa.Column('mark', sa.LargeBinary(length=32), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.CheckConstraint('first > 0 AND last >= first', name=op.f('ck_audit_archives_in_order')),
        sa.PrimaryKeyConstraint('last', name=op.f('pk_audit_archives')),
        sa.UniqueConstraint('first', name=op.f('uq_audit_archives_first')),
    )
    op.create_table(
        'audit_checks',
        sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column('checked_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('number', sa.BigInteger(), nullable=False),
        sa.Column('head', sa.LargeBinary(length=32), nullable=False),
        sa.Column('fault', sa.String(length=300), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_audit_checks')),
    )
    for name, number in (
        ('entries', '(SELECT number FROM audit_seals WHERE entry_id = OLD.id)'),
        ('seals', 'OLD.number'),
    ):
        op.execute(
            f"""
            CREATE FUNCTION keep_audit_{name}() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF {number} <= (SELECT max(last) FROM audit_archives) THEN
                    RETURN OLD;
                END IF;
                RAISE EXCEPTION 'a row of % that was not exported is kept', TG_TABLE_NAME
                    USING ERRCODE = 'restrict_violation';
            END $$
            """
        )
        op.execute(
            f"CREATE TRIGGER audit_{name}_kept BEFORE DELETE ON audit_{name}"
            f" FOR EACH ROW EXECUTE FUNCTION keep_audit_{name}()"
        )
    for name in ('entries', 'seals', 'archives'):
        does = 'UPDATE OR DELETE OR TRUNCATE' if name == 'archives' else 'UPDATE OR TRUNCATE'
        op.execute(
            f"CREATE TRIGGER audit_{name}_append_only BEFORE {does} ON audit_{name}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_rewrite_history()"
        )


def downgrade() -> None:
    op.execute("DROP TRIGGER audit_entries_append_only ON audit_entries")
    op.execute("DROP TRIGGER audit_entries_kept ON audit_entries")
    op.drop_table('audit_checks')
    op.drop_table('audit_archives')
    op.drop_table('audit_seals')
    op.execute("DROP FUNCTION keep_audit_seals()")
    op.execute("DROP FUNCTION keep_audit_entries()")
    op.drop_column('audit_entries', 'origin')
