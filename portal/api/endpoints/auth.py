"""API endpoints for registration and login."""

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
from portal.api.responses import body_errors, reply
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
    """Set the headers for remaining failed logins or registrations, before the blueprint's `show_allowance`."""
    g.allowance = login_limits.allowance()
    return response


@blueprint.post(
    "/register",
    **documented(
        201,
        User,
        example=USER_EXAMPLE,
        errors={400: "email_taken"},
        is_open=True,
    ),
)
@authentication.open_to_all
def register(query: schemas.RegisterQuery, body: schemas.Register) -> Response:
    """Create an account.

    Where the shop sends e-mail, the address must be confirmed by an e-mailed link before the first login. An IP address
    may create 5 accounts an hour; refused requests do not count, except for a taken e-mail address.
    E-mails are in the language of `Accept-Language`, English or Russian.
    """
    with body_errors(only="password"), login_limits.registration(), context.transaction() as session:
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
        errors={401: "login_failed", 403: "account_disabled"},
        is_open=True,
    ),
)
@authentication.open_to_all
def login(body: schemas.Credentials) -> Response:
    """Log in, for 60 minutes.

    The login is listed in the portal and can be ended there. With two-factor login on, the response is
    401 with `otp_required` until the code is sent as `otp`. After five failures in an hour there is a delay, which
    doubles with each further one; successful logins are not limited. While others fail to log in to the account, a
    login from an unknown address is 401 with `proof_needed`, where the shop sends e-mail: once the e-mailed link
    was opened in a browser at the same address, the login succeeds.
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
    """Return the identity of a client program, since it has no cookies: its User-Agent without version numbers."""
    return f"api:{_DIGITS.sub('', request.user_agent.string)}"
