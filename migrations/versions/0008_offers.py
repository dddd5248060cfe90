"""Offers: bundles, coupons, gift codes, and bonuses for who brings others."""

import sqlalchemy as sa
from alembic import op

revision = '0008_offers'
down_revision = '0007_real_providers'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('bundles',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.String(length=50), nullable=False),
    sa.Column('description', sa.String(length=200), nullable=False),
    sa.Column('token_count', sa.Integer(), nullable=False),
    sa.Column('duration_hours', sa.Integer(), nullable=False),
    sa.Column('scope', sa.String(length=64), nullable=False),
    sa.Column('discount_percent', sa.Numeric(precision=5, scale=2), nullable=False),
    sa.Column('is_active', sa.Boolean(), server_default=sa.text('true'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('discount_percent BETWEEN 0 AND 90', name=op.f('ck_bundles_discount_percent')),
    sa.CheckConstraint('token_count BETWEEN 2 AND 100', name=op.f('ck_bundles_token_count')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_bundles'))
    )
    op.create_table('coupons',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('code', sa.String(length=32), nullable=False),
    sa.Column('percent', sa.Numeric(precision=5, scale=2), nullable=True),
    sa.Column('amount', sa.Numeric(precision=18, scale=2), nullable=True),
    sa.Column('uses_in_all', sa.Integer(), nullable=True),
    sa.Column('uses_per_user', sa.Integer(), nullable=True),
    sa.Column('valid_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('is_active', sa.Boolean(), server_default=sa.text('true'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('(percent IS NULL) <> (amount IS NULL)', name=op.f('ck_coupons_percent_or_amount')),
    sa.CheckConstraint('amount > 0', name=op.f('ck_coupons_amount_positive')),
    sa.CheckConstraint('percent > 0 AND percent < 100', name=op.f('ck_coupons_percent')),
    sa.CheckConstraint('uses_in_all > 0 AND uses_per_user > 0', name=op.f('ck_coupons_uses_positive')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_coupons'))
    )
    op.create_index('uq_coupons_code', 'coupons', [sa.literal_column('upper(code)')], unique=True)
    op.create_table('bundle_purchases',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('bundle_id', sa.Uuid(), nullable=False),
    sa.Column('bundle_name', sa.String(length=50), nullable=False),
    sa.Column('token_count', sa.Integer(), nullable=False),
    sa.Column('price_paid', sa.Numeric(precision=18, scale=2), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('price_paid > 0', name=op.f('ck_bundle_purchases_price_positive')),
    sa.ForeignKeyConstraint(['bundle_id'], ['bundles.id'], name=op.f('fk_bundle_purchases_bundle_id_bundles'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_bundle_purchases_user_id_users'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_bundle_purchases'))
    )
    op.create_index('ix_bundle_purchases_user_id_created_at', 'bundle_purchases', ['user_id', 'created_at'])
    op.create_table('coupon_uses',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('coupon_id', sa.Uuid(), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('discount', sa.Numeric(precision=18, scale=2), nullable=False),
    sa.Column('reference_type', sa.String(length=64), nullable=False),
    sa.Column('reference_id', sa.Uuid(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('discount > 0', name=op.f('ck_coupon_uses_discount_positive')),
    sa.ForeignKeyConstraint(['coupon_id'], ['coupons.id'], name=op.f('fk_coupon_uses_coupon_id_coupons'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_coupon_uses_user_id_users'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_coupon_uses'))
    )
    op.create_index('ix_coupon_uses_coupon_id_user_id', 'coupon_uses', ['coupon_id', 'user_id'])
    op.create_index('uq_coupon_uses_reference', 'coupon_uses', ['reference_type', 'reference_id'], unique=True)
    op.create_table('gift_codes',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('code_hash', sa.LargeBinary(length=32), nullable=False),
    sa.Column('prefix', sa.String(length=8), nullable=False),
    sa.Column('amount_znc', sa.Numeric(precision=18, scale=2), nullable=False),
    sa.Column('uses_in_all', sa.Integer(), nullable=False),
    sa.Column('uses', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('valid_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('is_active', sa.Boolean(), server_default=sa.text('true'), nullable=False),
    sa.Column('note', sa.String(length=200), nullable=False),
    sa.Column('created_by', sa.Uuid(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('amount_znc > 0', name=op.f('ck_gift_codes_amount_positive')),
    sa.CheckConstraint('uses BETWEEN 0 AND uses_in_all', name=op.f('ck_gift_codes_uses_within')),
    sa.ForeignKeyConstraint(['created_by'], ['users.id'], name=op.f('fk_gift_codes_created_by_users'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_gift_codes')),
    sa.UniqueConstraint('code_hash', name=op.f('uq_gift_codes_code_hash'))
    )
    op.create_index('ix_gift_codes_created_at', 'gift_codes', ['created_at'])
    op.create_table('referral_bonuses',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('referrer_id', sa.Uuid(), nullable=False),
    sa.Column('referred_id', sa.Uuid(), nullable=False),
    sa.Column('reference_type', sa.String(length=64), nullable=False),
    sa.Column('reference_id', sa.Uuid(), nullable=False),
    sa.Column('price', sa.Numeric(precision=18, scale=2), nullable=False),
    sa.Column('amount', sa.Numeric(precision=18, scale=2), nullable=False),
    sa.Column('returned', sa.Numeric(precision=18, scale=2), server_default=sa.text('0'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint('referrer_id <> referred_id', name=op.f('ck_referral_bonuses_nobody_refers_himself')),
    sa.CheckConstraint('returned BETWEEN 0 AND amount AND amount > 0', name=op.f('ck_referral_bonuses_amounts')),
    sa.ForeignKeyConstraint(['referred_id'], ['users.id'], name=op.f('fk_referral_bonuses_referred_id_users'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['referrer_id'], ['users.id'], name=op.f('fk_referral_bonuses_referrer_id_users'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_referral_bonuses')),
    sa.UniqueConstraint('referred_id', name=op.f('uq_referral_bonuses_referred_id'))
    )
    op.create_index('ix_referral_bonuses_held', 'referral_bonuses', ['created_at'], postgresql_where=sa.text('ended_at IS NULL'))
    op.create_index('ix_referral_bonuses_reference', 'referral_bonuses', ['reference_type', 'reference_id'])
    op.create_index(op.f('ix_referral_bonuses_referrer_id'), 'referral_bonuses', ['referrer_id'])
    op.create_table('gift_redemptions',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('gift_code_id', sa.Uuid(), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('amount_znc', sa.Numeric(precision=18, scale=2), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['gift_code_id'], ['gift_codes.id'], name=op.f('fk_gift_redemptions_gift_code_id_gift_codes'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_gift_redemptions_user_id_users'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_gift_redemptions')),
    sa.UniqueConstraint('gift_code_id', 'user_id', name=op.f('uq_gift_redemptions_gift_code_id_user_id'))
    )
    op.create_index(op.f('ix_gift_redemptions_user_id'), 'gift_redemptions', ['user_id'])
    op.add_column('access_tokens', sa.Column('bundle_purchase_id', sa.Uuid(), nullable=True))
    op.add_column('access_tokens', sa.Column('bundle_share', sa.Numeric(precision=18, scale=2), nullable=True))
    op.create_index(op.f('ix_access_tokens_bundle_purchase_id'), 'access_tokens', ['bundle_purchase_id'])
    op.create_foreign_key(op.f('fk_access_tokens_bundle_purchase_id_bundle_purchases'), 'access_tokens', 'bundle_purchases', ['bundle_purchase_id'], ['id'], ondelete='RESTRICT')
    op.add_column('users', sa.Column('referrer_id', sa.Uuid(), nullable=True))
    op.create_index(op.f('ix_users_referrer_id'), 'users', ['referrer_id'])
    op.create_foreign_key(op.f('fk_users_referrer_id_users'), 'users', 'users', ['referrer_id'], ['id'], ondelete='RESTRICT')
    op.create_check_constraint(op.f('ck_access_tokens_bundle_with_share'), 'access_tokens', '(bundle_purchase_id IS NULL) = (bundle_share IS NULL)')
    op.create_check_constraint(op.f('ck_access_tokens_share_within_price'), 'access_tokens', 'bundle_share >= 0 AND bundle_share <= price_paid')
    op.create_check_constraint(op.f('ck_users_nobody_refers_himself'), 'users', 'referrer_id <> id')
    # Default bundles (docs/spec/business-rules.md#bundles); admins can change them.
    op.execute("""INSERT INTO bundles (id, name, description, token_count, duration_hours, scope, discount_percent) VALUES
        (gen_random_uuid(), 'Starter', '', 5, 24, 'full', 10),
        (gen_random_uuid(), 'Pro', '', 10, 24, 'full', 15),
        (gen_random_uuid(), 'Ultimate', '', 20, 168, 'full', 20),
        (gen_random_uuid(), 'Certificates', '', 10, 24, 'certificates_only', 15)""")


def downgrade() -> None:
    op.drop_constraint('ck_users_nobody_refers_himself', 'users')
    op.drop_constraint(op.f('fk_users_referrer_id_users'), 'users', type_='foreignkey')
    op.drop_index(op.f('ix_users_referrer_id'), table_name='users')
    op.drop_column('users', 'referrer_id')
    op.drop_constraint(op.f('fk_access_tokens_bundle_purchase_id_bundle_purchases'), 'access_tokens', type_='foreignkey')
    op.drop_index(op.f('ix_access_tokens_bundle_purchase_id'), table_name='access_tokens')
    op.drop_column('access_tokens', 'bundle_share')
    op.drop_column('access_tokens', 'bundle_purchase_id')
    op.drop_index(op.f('ix_gift_redemptions_user_id'), table_name='gift_redemptions')
    op.drop_table('gift_redemptions')
    op.drop_index(op.f('ix_referral_bonuses_referrer_id'), table_name='referral_bonuses')
    op.drop_index('ix_referral_bonuses_reference', table_name='referral_bonuses')
    op.drop_index('ix_referral_bonuses_held', table_name='referral_bonuses', postgresql_where=sa.text('ended_at IS NULL'))
    op.drop_table('referral_bonuses')
    op.drop_index('ix_gift_codes_created_at', table_name='gift_codes')
    op.drop_table('gift_codes')
    op.drop_index('uq_coupon_uses_reference', table_name='coupon_uses')
    op.drop_index('ix_coupon_uses_coupon_id_user_id', table_name='coupon_uses')
    op.drop_table('coupon_uses')
    op.drop_index('ix_bundle_purchases_user_id_created_at', table_name='bundle_purchases')
    op.drop_table('bundle_purchases')
    op.drop_index('uq_coupons_code', table_name='coupons')
    op.drop_table('coupons')
    op.drop_table('bundles')
