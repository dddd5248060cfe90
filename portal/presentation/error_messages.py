"""Error messages of pages: a domain error's text in the reader's language and time zone."""

from flask_babel import get_locale

from models.services import message_catalogue, messages
from models.services.errors import DomainError
from models.translations import DEFAULT
from portal.i18n import gettext
from portal.request import context


def message_of(error: DomainError) -> str:
    """Return the text of a domain error for the reader of the page."""
    return messages.error_text(error, reader_language(), context.zone())


def reader_language() -> str:
    """Return the language of the page that is being rendered."""
    locale = get_locale()
    return locale.language if locale else DEFAULT


def path_fault(code: str) -> str:
    """Say why a request path is rejected."""
    return gettext(message_catalogue.PATH_FAULTS[code])
