"""Referrals: the user's code, referred users and bonuses."""

from flask import Blueprint, render_template, url_for

from models.services.promotions import referrals
from portal.request import auth, context
from portal.request.pagination import page_slice
from portal.request.safe_redirects import own_address

blueprint = Blueprint("referrals", __name__, url_prefix="/invite")
blueprint.before_request(auth.require_login)


@blueprint.get("")
def overview() -> str:
    """Show the user's referral code and link with the results; addresses of referred users are not shown."""
    user = context.user()
    return render_template(
        "account/referrals.html",
        link=own_address(url_for("accounts.register", ref=user.referral_code)),
        figures=referrals.totals(context.session(), user),
        page=referrals.list_referred_users(context.session(), user, **page_slice()),
    )
