"""Views of the portal: registration of all blueprints."""

from flask import Flask

from models.config.settings import Settings
from portal.extensions import csrf
from portal.request import announcement_banner
from portal.views.account import (
    api_keys,
    change_email,
    data_export,
    email_links,
    login,
    logins,
    notifications,
    profile,
    referrals,
    two_factor,
)
from portal.views.admin import (
    announcements,
    dashboard,
    emails,
    impersonation,
    inspections,
    jobs,
    lists,  # noqa: F401 - its routes belong to the blueprint of `admin`
    offers,
    payments,
    reconciliation,
    unclaimed_money,
    users,  # noqa: F401 - its routes belong to the blueprint of `admin`
    webhook_deliveries,
)
from portal.views.admin import settings as admin_settings
from portal.views.public import health, mock_checkout, pages, payment_callbacks
from portal.views.shop import bundles, live_traffic, statements, token_settings, tokens, usage, wallet, webhooks


def init_app(app: Flask, settings: Settings) -> None:
    """Register all blueprints."""
    app.register_blueprint(pages.blueprint)
    app.register_blueprint(login.blueprint)
    app.register_blueprint(email_links.blueprint)
    app.register_blueprint(profile.blueprint)
    app.register_blueprint(change_email.blueprint)
    app.register_blueprint(two_factor.blueprint)
    app.register_blueprint(data_export.blueprint)
    app.register_blueprint(logins.blueprint)
    app.register_blueprint(api_keys.blueprint)
    app.register_blueprint(tokens.blueprint)
    app.register_blueprint(live_traffic.blueprint)
    app.register_blueprint(usage.blueprint)
    app.register_blueprint(token_settings.blueprint)
    app.register_blueprint(bundles.blueprint)
    app.register_blueprint(referrals.blueprint)
    app.register_blueprint(wallet.blueprint)
    app.register_blueprint(statements.blueprint)
    app.register_blueprint(reconciliation.blueprint)
    app.register_blueprint(unclaimed_money.blueprint)
    app.register_blueprint(dashboard.blueprint)
    app.register_blueprint(payments.blueprint)
    app.register_blueprint(offers.blueprint)
    app.register_blueprint(admin_settings.blueprint)
    app.register_blueprint(notifications.blueprint)
    app.register_blueprint(notifications.unsubscribe)
    app.register_blueprint(webhooks.blueprint)
    app.register_blueprint(webhook_deliveries.blueprint)
    app.register_blueprint(emails.blueprint)
    app.register_blueprint(impersonation.blueprint)
    app.register_blueprint(impersonation.exit_blueprint)
    app.register_blueprint(announcements.blueprint)
    app.register_blueprint(jobs.blueprint)
    app.register_blueprint(inspections.blueprint)
    app.register_blueprint(announcement_banner.blueprint)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(payment_callbacks.blueprint)
    # No CSRF token for these: their callers send a signature and no cookie.
    csrf.exempt(payment_callbacks.blueprint)
    csrf.exempt(notifications.unsubscribe)
    if "mock" in settings.payments.providers:
        app.register_blueprint(mock_checkout.blueprint)
    if not settings.platform.is_production:
        app.register_blueprint(pages.development)
