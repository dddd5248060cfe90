"""Inviting others: the code, who came, and what it earned."""

from flask import Blueprint, render_template, url_for

from models.services.promotions import referrals
from portal import access, current
from portal.paging import window
from portal.redirects import own_address

blueprint = Blueprint("referrals", __name__, url_prefix="/invite")
blueprint.before_request(access.require_login)


@blueprint.get("")
def overview() -> str:
    """Show the user's code and link, and what his invitations have come to; nobody's address is told."""
    user = current.user()
    return render_template(
        "referrals/overview.html",
        link=own_address(url_for("accounts.register", ref=user.referral_code)),
        figures=referrals.figures(current.session(), user),
        page=referrals.invited(current.session(), user, **window()),
    )
