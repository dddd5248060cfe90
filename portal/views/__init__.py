"""The pages, one module for each subject."""

from flask import Flask

from models.config.settings import Settings
from portal import announcing
from portal.extensions import csrf
from portal.views import (
    accounts,
    admin,
    admin_announcements,
    admin_inspections,
    admin_jobs,
    admin_lists,  # noqa: F401 - its routes belong to the blueprint of `admin`
    admin_offers,
    admin_payments,
    admin_settings,
    admin_users,  # noqa: F401 - its routes belong to the blueprint of `admin`
    admin_view_as,
    bundles,
    email,
    health,
    hooks,
    keys,
    links,
    logins,
    mock_checkout,
    notices,
    office_hooks,
    office_mails,
    own_data,
    pages,
    papers,
    profile,
    referrals,
    token_changes,
    tokens,
    traffic,
    two_factor,
    usage,
    wallet,
    webhooks,
)


def init_app(app: Flask, settings: Settings) -> None:
    """Register all blueprints."""
    app.register_blueprint(pages.blueprint)
    app.register_blueprint(accounts.blueprint)
    app.register_blueprint(links.blueprint)
    app.register_blueprint(profile.blueprint)
    app.register_blueprint(email.blueprint)
    app.register_blueprint(two_factor.blueprint)
    app.register_blueprint(own_data.blueprint)
    app.register_blueprint(logins.blueprint)
    app.register_blueprint(keys.blueprint)
    app.register_blueprint(tokens.blueprint)
    app.register_blueprint(traffic.blueprint)
    app.register_blueprint(usage.blueprint)
    app.register_blueprint(token_changes.blueprint)
    app.register_blueprint(bundles.blueprint)
    app.register_blueprint(referrals.blueprint)
    app.register_blueprint(wallet.blueprint)
    app.register_blueprint(papers.blueprint)
    app.register_blueprint(papers.office)
    app.register_blueprint(admin.blueprint)
    app.register_blueprint(admin_payments.blueprint)
    app.register_blueprint(admin_offers.blueprint)
    app.register_blueprint(admin_settings.blueprint)
    app.register_blueprint(notices.blueprint)
    app.register_blueprint(notices.unsubscribe)
    app.register_blueprint(hooks.blueprint)
    app.register_blueprint(office_hooks.blueprint)
    app.register_blueprint(office_mails.blueprint)
    app.register_blueprint(admin_view_as.blueprint)
    app.register_blueprint(admin_view_as.way_back)
    app.register_blueprint(admin_announcements.blueprint)
    app.register_blueprint(admin_jobs.blueprint)
    app.register_blueprint(admin_inspections.blueprint)
    app.register_blueprint(announcing.blueprint)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(webhooks.blueprint)
    # The two exemptions: what calls these carries a signature and no cookie.
    csrf.exempt(webhooks.blueprint)
    csrf.exempt(notices.unsubscribe)
    if "mock" in settings.payments.providers:
        app.register_blueprint(mock_checkout.blueprint)
    if not settings.platform.is_production:
        app.register_blueprint(pages.development)
