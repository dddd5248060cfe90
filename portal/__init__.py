"""The portal: server-rendered pages for buyers and admins, the JSON API, and payment callbacks."""

from datetime import timedelta
from pathlib import Path

from flask_openapi3 import OpenAPI
from werkzeug.middleware.proxy_fix import ProxyFix

from models.config import settings as config
from models.config.settings import Settings
from models.database import apply_limits, engine_options
from models.services.payments import providers
from models.services.settings.overrides import CachedSettings
from portal import api, i18n, template_filters, views
from portal.extensions import csrf, db
from portal.request import (
    announcement_banner,
    auth,
    error_pages,
    login_limits,
    maintenance,
    preferences,
    rate_limits,
    security_headers,
    wake_ups,
)
from portal.request.client_address import ClientAddress
from portal.status import failed_requests, metrics

ROOT = Path(__file__).resolve().parent.parent
# Twice the longest form; payment callbacks have a smaller limit of their own.
MAX_BODY_BYTES = 256 * 1024


def create_app(settings: Settings | None = None) -> OpenAPI:
    """Create the portal's app; without `settings` they are read from config.toml and the environment."""
    settings = settings or config.load_settings()
    app = OpenAPI("portal", template_folder=str(ROOT / "templates"), static_folder=str(ROOT / "static"), **api.OPTIONS)
    app.extensions["zenzefi"] = settings
    app.extensions["zenzefi-runtime"] = CachedSettings(settings)
    _configure(app, settings)
    providers.preload(settings)
    db.init_app(app)
    with app.app_context():
        apply_limits(db.engine, settings.database)
    # Before everything that may reject a request, so that each rejection has a request id.
    security_headers.init_app(app, settings)
    csrf.init_app(app)
    auth.init_app(app)
    i18n.init_app(app)
    preferences.init_app(app)
    template_filters.init_app(app)
    rate_limits.init_app(app, settings)
    login_limits.init_app(app, settings)
    failed_requests.init_app(app)
    maintenance.init_app(app)
    announcement_banner.init_app(app)
    error_pages.init_app(app)
    views.init_app(app, settings)
    api.init_app(app, settings)
    metrics.init_app(app, settings)
    wake_ups.init_app(app)
    # Inside ProxyFix, so that it sees the address that ProxyFix took from X-Forwarded-For.
    app.wsgi_app = ClientAddress(app.wsgi_app)  # type: ignore[method-assign]
    if hops := settings.portal.trusted_proxies:
        # X-Forwarded-Host is not trusted: our own addresses come from the settings.
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=0)  # type: ignore[method-assign]
    return app


def _configure(app: OpenAPI, settings: Settings) -> None:
    production = settings.platform.is_production
    app.config.update(
        SECRET_KEY=settings.portal.secret_key.get_secret_value(),
        SQLALCHEMY_DATABASE_URI=settings.database.url,
        SQLALCHEMY_ENGINE_OPTIONS=engine_options(settings.database),
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        MAX_FORM_MEMORY_SIZE=MAX_BODY_BYTES,
        MAX_FORM_PARTS=100,
        # A changed file has a new address (portal.request.security_headers), so browsers may cache it for a year.
        SEND_FILE_MAX_AGE_DEFAULT=timedelta(days=365),
        # The __Host- name makes browsers refuse a cookie that a sibling host or plain HTTP tries to set.
        SESSION_COOKIE_NAME="__Host-zenzefi" if production else "zenzefi",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=production,
        PERMANENT_SESSION_LIFETIME=timedelta(hours=settings.portal.session_hours),
        # Flask would send the cookie with every response, static files included; portal.request.auth renews it.
        SESSION_REFRESH_EACH_REQUEST=False,
        # A form is valid for as long as its session.
        WTF_CSRF_TIME_LIMIT=None,
        TEMPLATES_AUTO_RELOAD=False,
    )
    # `//` in a path is not the same as `/`, and a redirect to "//host/" would leave this site.
    app.url_map.merge_slashes = False
    # /webhooks/payment/mock answers where it is: a provider's callback follows no redirect.
    app.url_map.redirect_defaults = False
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
