"""Coupons, gift codes and referral bonuses."""
