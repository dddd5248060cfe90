"""Query strings for list pages: searches, filters, orders, and late pages."""

VARIANTS = {
    "/wallet": ("type=refund", "page=1700", "page=10000"),
    "/wallet/statements/<month>": ("page=150",),
    "/tokens": ("page=300", "page=10000"),
    "/tokens/<uuid:token_id>": ("page=300", "history=2"),
    "/usage": ("period=week", "period=month", "token={token_id}"),
    "/invite": ("page=30",),
    "/webhooks/<uuid:endpoint_id>": ("page=300", "page=10000", "show=dead"),
    "/admin/users": (
        *("q=seed1", "q=ed99", "q=nobody", "state=active", "state=disabled", "state=admins", "money=balance"),
        *("money=debt", "sort=balance", "sort=-email", "sort=-balance&page=400", "page=400", "page=10000"),
    ),
    "/admin/tokens": (
        *(
            "q=ab",
            "q=abcdef01",
            "owner=seed7",
            "owner=seed1%40example.test",
            "user={user_id}",
            "user={user_id}&page=300",
        ),
        *("state=ready", "state=active", "state=paused", "state=expired", "state=revoked", "state=revoked&page=400"),
        *("state=expired&page=400", "page=400", "page=10000"),
    ),
    "/admin/sessions": ("open=1", "open=1&page=400", "user={user_id}", "page=400", "page=10000"),
    "/admin/payments": (
        *("status=pending", "status=succeeded&page=400", "status=canceled", "status=refunded", "provider=mock"),
        *("provider=nobody", "user={user_id}", "page=400", "page=10000"),
    ),
    "/admin/audit": (
        *(
            "action=user.login_failed",
            "action=payment.settled",
            "user={user_id}",
            "actor={user_id}&action=user.logged_in",
        ),
        *("resource=user&page=400", "resource=nothing", "request=nothing", "since=2020-01-01&until=2020-02-01"),
        *("action=user.login_failed&until=2020-02-01", "page=400", "page=10000"),
    ),
    "/admin/mails": ("state=sent", "state=sent&page=400", "state=failed", "state=failed&page=100", "page=10000"),
    "/admin/webhooks": ("state=delivered", "state=delivered&page=400", "state=waiting", "page=10000"),
    "/admin/offers": ("gifts=300", "coupons=4", "gifts=10000"),
    "/admin/outages": ("page=2",),
    "/admin/settings/history": ("page=8",),
    "/admin/reconciliation": ("first={year_ago}&last={today}",),
    "/api/v1/admin/users": ("search=ed99", "search=nobody", "is_active=false", "offset=99000", "offset=1000000"),
    "/api/v1/admin/tokens": ("active_only=true", "user_id={user_id}", "offset=250000", "offset=999000"),
    "/api/v1/admin/audit-logs": ("action=payment.settled", "user_id={user_id}", "resource_type=user", "offset=250000"),
    "/api/v1/tokens/my-tokens": ("active_only=false", "active_only=false&offset=9000"),
    "/api/v1/currency/transactions": ("transaction_type=refund", "offset=40000"),
}
