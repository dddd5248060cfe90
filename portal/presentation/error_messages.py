"""Error messages of pages: a domain error's text in the reader's language and time zone."""

from models.services import message_catalogue, messages
from models.services.errors import DomainError
from models.webhooks import WebhookDelivery, WebhookEndpoint
from portal.i18n import gettext, reader_language
from portal.request import context


def message_of(error: DomainError) -> str:
    """Return the text of a domain error for the reader of the page."""
    return messages.error_text(error, reader_language(), context.zone())


def path_fault(code: str) -> str:
    """Return why a request path is rejected."""
    return gettext(message_catalogue.PATH_FAULTS[code])


def ledger_rule(rule: str) -> str:
    """Return which rule of the ledger verification fails."""
    return messages.ledger_rule_text(rule, reader_language())


def delivery_error(delivery: WebhookDelivery) -> str:
    """Return why a webhook delivery failed; empty for one that did not."""
    return messages.delivery_error_text(delivery.error or "", delivery.error_details, reader_language())


def endpoint_error(endpoint: WebhookEndpoint) -> str:
    """Return why nothing arrives at a webhook endpoint; empty when nothing is known."""
    return messages.delivery_error_text(endpoint.last_error or "", endpoint.last_error_details, reader_language())
