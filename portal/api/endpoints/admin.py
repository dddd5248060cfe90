"""API endpoints for admins: users, tokens and the audit log."""

from flask import Response

from models.api_keys import KeyScope
from models.audit import AuditAction
from models.services.accounts import roles, users
from models.services.audit import log as audit_log_module
from models.services.errors import NotFound, TokenEnded
from models.services.ledger import adjustments, transfers
from models.services.tokens import queries as token_queries
from models.services.tokens import revocation
from portal.api import authentication
from portal.api.openapi.blueprints import blueprint as make_blueprint
from portal.api.openapi.document import documented
from portal.api.responses import body_errors, envelope, reply
from portal.api.schemas import admin as schemas
from portal.api.schemas import tokens as token_schemas
from portal.request import context

blueprint = make_blueprint("admin", "Admin endpoints.")

FORBIDDEN = "admin_role_required"


@blueprint.get(
    "/users",
    **documented(
        200,
        schemas.AdminUsers,
        example={"items": [schemas.ADMIN_USER_EXAMPLE], "total": 1, "limit": 50, "offset": 0},
        errors={403: FORBIDDEN},
    ),
)
@authentication.needs(KeyScope.ADMIN)
def user_list(query: schemas.UsersQuery) -> Response:
    """Return users, newest first."""
    page = users.search(
        context.session(), words=query.search, is_active=query.is_active, limit=query.limit, offset=query.offset
    )
    balances = transfers.balances_of(context.session(), [user.id for user in page.items])
    return envelope(schemas.AdminUsers, page, lambda user: schemas.write_user(user, balances[user.id]))


@blueprint.patch(
    "/users/<uuid:user_id>",
    **documented(
        200,
        schemas.AdminUser,
        example=schemas.ADMIN_USER_EXAMPLE,
        errors={403: FORBIDDEN, 404: "user_not_found", 409: "last_superuser"},
    ),
)
@authentication.needs(KeyScope.ADMIN)
def change_user(path: schemas.UserPath, body: schemas.UserChanges) -> Response:
    """Change a user.

    `currency_balance` is the new balance; the difference from the current balance is booked as an
    adjustment, with the reason.
    """
    with body_errors(amount="currency_balance"), context.transaction() as session:
        user = users.by_id(session, path.user_id)
        if body.is_superuser is not None:
            roles.set_superuser(session, user.id, superuser=body.is_superuser, actor=authentication.actor())
        if body.is_active is not None:
            roles.set_active(session, user.id, active=body.is_active, actor=authentication.actor())
        if body.currency_balance is not None:
            target, reason = body.currency_balance, body.reason or ""
            adjustments.set_balance(session, user, target=target, reason=reason, actor=authentication.actor())
        session.refresh(user)
        balance = transfers.wallet_of(session, user.id).balance
    return reply(schemas.write_user(user, balance))


@blueprint.get(
    "/tokens",
    **documented(
        200,
        schemas.AdminTokens,
        example={"items": [token_schemas.TOKEN_EXAMPLE], "total": 1, "limit": 50, "offset": 0},
        errors={403: FORBIDDEN},
    ),
)
@authentication.needs(KeyScope.ADMIN)
def token_list(query: schemas.TokensQuery) -> Response:
    """Return tokens, of one user or of all, newest first; `token` is masked."""
    page = token_queries.search(
        context.session(),
        user_id=query.user_id,
        active_only=query.active_only,
        limit=query.limit,
        offset=query.offset,
    )
    return envelope(schemas.AdminTokens, page, token_schemas.write)


@blueprint.delete(
    "/tokens/<uuid:token_id>",
    **documented(
        200,
        schemas.ForceRevoked,
        example=schemas.FORCE_REVOKED_EXAMPLE,
        errors={403: FORBIDDEN, 404: "token_not_found"},
    ),
)
@authentication.needs(KeyScope.ADMIN)
def force_revoke(path: token_schemas.TokenPath, query: schemas.RevokeQuery) -> Response:
    """Revoke any user's token without a refund; its owner is notified of the reason by e-mail."""
    try:
        with context.transaction() as session:
            revocation.force_revoke(session, path.token_id, reason=query.reason, actor=authentication.actor())
    except TokenEnded:
        raise NotFound("token") from None
    message = "The token is revoked. Nothing was paid back."
    return reply(schemas.ForceRevoked(revoked=True, token_id=path.token_id, message=message))


@blueprint.get(
    "/audit-logs",
    **documented(
        200,
        schemas.AuditLog,
        example={"items": [schemas.AUDIT_EXAMPLE], "total": 1, "limit": 50, "offset": 0},
        errors={403: FORBIDDEN},
    ),
)
@authentication.needs(KeyScope.ADMIN)
def audit_log(query: schemas.AuditQuery) -> Response:
    """Return audit log entries, newest first."""
    page = audit_log_module.entries(
        context.session(),
        user_id=query.user_id,
        action=AuditAction(query.action) if query.action else None,
        resource_type=query.resource_type,
        limit=query.limit,
        offset=query.offset,
    )
    return envelope(schemas.AuditLog, page, schemas.write_entry)
