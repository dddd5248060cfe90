"""Registering and logging in through the API."""

import re
from contextlib import nullcontext

from flask import Response, g, request
from flask_openapi3 import APIBlueprint

from models.logins import LoginKind
from models.services.accounts import email_flows, known_devices, logins, two_factor, users
from models.services.errors import AccountDisabled, LoginFailed, OtpInvalid, OtpRequired, ProofNeeded
from portal.api import authentication, login_tokens
from portal.api.openapi.blueprints import blueprint as make_blueprint
from portal.api.openapi.document import documented
from portal.api.responses import reply, unfit_body
from portal.api.schemas import auth as schemas
from portal.api.schemas.users import USER_EXAMPLE, User
from portal.i18n import wanted_language
from portal.presentation.user_agents import device
from portal.request import context, login_limits
from portal.request.error_pages import ApiError

_DIGITS = re.compile(r"\d+")

blueprint: APIBlueprint = make_blueprint("auth", "Accounts and logins.")


@blueprint.after_request
def show_auth_allowance(response: Response) -> Response:
    """Say how many more failures, or registrations, are free. Runs before the blueprint's own `show_allowance`."""
    g.allowance = login_limits.allowance()
    return response


@blueprint.post(
    "/register",
    **documented(
        201,
        User,
        example=USER_EXAMPLE,
        errors={400: "This e-mail address already has an account."},
        is_open=True,
    ),
)
@authentication.open_to_all
def register(query: schemas.RegisterQuery, body: schemas.Register) -> Response:
    """Make an account.

    Where the shop sends mail, the address is confirmed by the link in one before the first login. An IP address may
    make 5 accounts an hour; a request that is refused does not count, except for an e-mail address that is taken.
    Mails are in the language of `Accept-Language`, English or Russian.
    """
    with unfit_body(only="password"), login_limits.registration(), context.transaction() as session:
        user = email_flows.register(
            session,
            settings=context.frozen_settings(),
            email=body.email,
            username=body.username,
            password=body.password,
            full_name=body.full_name,
            referral_code=query.ref,
            language=wanted_language(),
            actor=authentication.actor(),
        )
    if context.frozen_settings().mail.is_configured:
        context.enqueue_job("jobs.email_links.send_links")
    return reply(User.model_validate(user), 201)


@blueprint.post(
    "/login",
    **documented(
        200,
        schemas.LoginToken,
        example=schemas.TOKEN_EXAMPLE,
        errors={401: "Incorrect e-mail address or password.", 403: "This account is disabled."},
        is_open=True,
    ),
)
@authentication.open_to_all
def login(body: schemas.Credentials) -> Response:
    """Log in, for 60 minutes.

    The login stands in the portal's list of logins and can be ended there. With two-factor login on, the answer is
    401 with `otp_required` until the code is sent as `otp`. After five failures in an hour there is a wait, which
    doubles with each further one; a login that succeeds costs nothing. While others fail to log in to the account, a
    login from an address that it was never used from is 401 with `proof_needed`, where the shop sends mail: a link
    comes by mail, and once it was followed in a browser at the same address, the login succeeds.
    """
    try:
        with login_limits.login_attempt(body.email) as attempt, context.transaction() as session:
            user = users.authenticate(session, email=body.email, password=body.password)
            with login_limits.code_attempt(user) if body.otp else nullcontext():
                two_factor.require(
                    session, user, body.otp, settings=context.frozen_settings(), actor=authentication.actor()
                )
            if not two_factor.is_enabled(session, user.id) and login_limits.needs_mail(attempt):
                raise ProofNeeded
            opened = logins.begin(
                session, user, kind=LoginKind.API, lifetime=login_tokens.LIFETIME, actor=authentication.actor()
            )
            known_devices.record_login(session, user, _program(), name=device(opened), actor=authentication.actor())
    except OtpRequired as error:
        raise ApiError(401, error.code, error.code) from None
    except ProofNeeded as error:
        with context.transaction() as session:
            email_flows.request_sign_in_link(
                session, user, settings=context.frozen_settings(), actor=authentication.actor()
            )
        context.enqueue_job("jobs.email_links.send_links")
        raise ApiError(401, error.code, error.code) from None
    except (LoginFailed, AccountDisabled, OtpInvalid) as error:
        with context.transaction() as session:
            users.record_failed_login(session, email=body.email, actor=authentication.actor())
        login_limits.refuse_beyond(attempt)
        if isinstance(error, LoginFailed) and context.frozen_settings().mail.is_configured:
            raise LoginFailed(unconfirmed=True) from None
        raise
    token = login_tokens.issue(context.frozen_settings().portal, user, opened)
    return reply(schemas.LoginToken(access_token=token, expires_in=int(login_tokens.LIFETIME.total_seconds())))


def _program() -> str:
    """Return what a program is known by, since it keeps no cookies: what it calls itself, whatever its version."""
    return f"api:{_DIGITS.sub('', request.user_agent.string)}"
