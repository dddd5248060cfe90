"""The caller's account."""

from contextlib import nullcontext

from flask import Response, url_for

from models.api_keys import KeyScope
from models.services.accounts import time_zones, users
from models.services.pagination import MAX_LIMIT
from models.services.promotions import referrals
from portal.api import authentication
from portal.api.openapi.blueprints import blueprint as make_blueprint
from portal.api.openapi.document import documented
from portal.api.responses import body_errors, reply
from portal.api.schemas import users as schemas
from portal.request import context, login_limits
from portal.request.safe_redirects import own_address

blueprint = make_blueprint("users", "The caller's account.")


@blueprint.get("/me", **documented(200, schemas.User, example=schemas.USER_EXAMPLE, validates=False))
@authentication.needs(KeyScope.READ)
def me() -> Response:
    """Return the calling user."""
    return reply(schemas.User.model_validate(authentication.user()))


@blueprint.patch("/me", **documented(200, schemas.User, example=schemas.USER_EXAMPLE))
@authentication.needs(KeyScope.BUY, login_only=True)
def change_me(body: schemas.Changes) -> Response:
    """Change the caller's name, time zone or password.

    A new password needs `current_password` and ends every other login, not this one. A wrong `current_password`
    counts as a failed login.
    """
    user = authentication.user()
    login = authentication.caller().login
    proof = login_limits.proof_attempt(login.id) if login and body.password is not None else nullcontext()
    with body_errors(new_password="password"), proof, context.transaction() as session:  # noqa: S106 - names of fields
        if "full_name" in body.model_fields_set:
            users.set_full_name(session, user, body.full_name or "", actor=authentication.actor())
        if body.time_zone is not None:
            time_zones.set_time_zone(session, user, body.time_zone, actor=authentication.actor())
        if body.password is not None:
            users.change_password(
                session,
                user,
                current=body.current_password or "",
                new=body.password,
                keep=login,
                actor=authentication.actor(),
            )
    context.session().refresh(user)
    return reply(schemas.User.model_validate(user))


@blueprint.get(
    "/me/referrals", **documented(200, schemas.Referrals, example=schemas.REFERRALS_EXAMPLE, validates=False)
)
@authentication.needs(KeyScope.READ)
def my_referrals() -> Response:
    """Return a summary of the caller's referrals, with the newest 100 referred users."""
    user = authentication.user()
    figures = referrals.totals(context.session(), user)
    page = referrals.list_referred_users(context.session(), user, limit=MAX_LIMIT, offset=0)
    referred = [
        schemas.Referred(
            username=who.username, created_at=who.created_at, bonus=bonus.amount - bonus.returned if bonus else None
        )
        for who, bonus in page.items
    ]
    return reply(
        schemas.Referrals(
            referral_code=user.referral_code,
            referral_link=own_address(url_for("accounts.register", ref=user.referral_code)),
            total_referrals=figures.invited,
            qualifying_referrals=figures.qualified,
            total_bonus_earned=figures.earned,
            referred_users=referred,
        )
    )
