"""User agents as readable names such as "Firefox on Windows"; only shown, never used for a decision."""

from flask_babel import lazy_gettext as _

from models.logins import Login, LoginKind
from portal.i18n import gettext

# The first match counts: browsers also name the ones that they are based on, which therefore come later.
BROWSERS = (
    ("YaBrowser/", "Yandex Browser"),
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Vivaldi/", "Vivaldi"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)
UNKNOWN = _("Unknown device")


def device(login: Login) -> str:
    """Return browser and system of a login, for people."""
    browser = _first(BROWSERS, login.user_agent)
    system = _first(SYSTEMS, login.user_agent)
    if login.kind is LoginKind.API:
        return gettext("A program (API)")
    if browser and system:
        return gettext("%(browser)s on %(system)s", browser=browser, system=system)
    return browser or system or str(UNKNOWN)


def _first(signs: tuple[tuple[str, str], ...], text: str) -> str:
    return next((name for sign, name in signs if sign in text), "")
