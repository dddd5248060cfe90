"""Prices on a page with a coupon applied, before a purchase."""

from collections.abc import Mapping
from decimal import Decimal

from models.services.errors import CouponRefused
from models.services.promotions import coupons
from models.services.promotions.coupons import Quote
from portal.forms.shop import BundleForm, BuyForm
from portal.request import context


def prices_with_coupon(form: BuyForm | BundleForm, prices: Mapping[int, Decimal]) -> dict[int, Quote]:
    """Return the prices with the form's coupon; an invalid coupon is shown as an error and changes no price."""
    session, buyer = context.session(), context.user()
    try:
        return coupons.quotes(session, buyer, form.coupon.data or "", prices)
    except CouponRefused as error:
        if not form.coupon.errors:
            form.add_error(error, "coupon")
        return coupons.quotes(session, buyer, "", prices)
