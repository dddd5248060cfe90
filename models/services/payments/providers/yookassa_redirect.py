"""YooKassa: its callbacks are not signed, so they only cause a query of its API (yookassa.ru/developers, "Webhooks").

Callbacks are accepted only from the addresses that YooKassa publishes. Queries use the library's requests and errors
with a connection of our own, because the library's has no timeout.
"""

import json
from decimal import Decimal, InvalidOperation
from typing import Any

import requests
from sqlalchemy.orm import Session
from yookassa.client import ApiClient
from yookassa.configuration import Configuration
from yookassa.domain.common import HttpVerb, RequestObject
from yookassa.domain.common.user_agent import UserAgent
from yookassa.domain.exceptions import (
    ApiError,
    ForbiddenError,
    InternalServerError,
    ResponseProcessingError,
    TooManyRequestsError,
    UnauthorizedError,
)
from yookassa.domain.request import PaymentRequest
from yookassa.domain.request.refund_request import RefundRequest

from models import addresses
from models.config.settings import Settings
from models.payments import Payment, PaymentFailure
from models.services.errors import CallbackRefused, ProviderDown, ProviderRefused
from models.services.payments.providers.base import Callback, Event, Refund, StatusHint

TIMEOUT_SECONDS = 10
_TEMPORARY = (InternalServerError, ResponseProcessingError, TooManyRequestsError)
# Objects that a callback may be about, and the key of the payment's id in each.
_PAYMENT_AT = {"payment": "id", "refund": "payment_id"}
# Why a payment was canceled, where that is not a bank's refusal (yookassa.ru/developers, "Canceled payments").
_FAILURES = {
    "expired_on_confirmation": PaymentFailure.ABANDONED,
    "canceled_by_merchant": PaymentFailure.WITHDRAWN,
}


class YooKassaRedirect:
    """YooKassa with its own payment page as a payment provider."""

    name = "yookassa"
    checkout_origins: tuple[str, ...] = ("https://yoomoney.ru", "https://yookassa.ru")

    def __init__(self, settings: Settings) -> None:
        self._rules = settings.payments
        if self._rules.yookassa_secret_key is None:
            raise ProviderRefused("YooKassa is not set up.")
        key = self._rules.yookassa_secret_key.get_secret_value()
        self._client = _Client(f"{self._rules.yookassa_api}/v3", self._rules.yookassa_shop_id, key)

    def create(self, session: Session, payment: Payment) -> str:  # noqa: ARG002 - the interface's
        asked = PaymentRequest(
            {
                "amount": _amount(payment.amount_rub),
                "capture": True,
                "confirmation": {"type": "redirect", "return_url": payment.return_url},
                "description": f"{payment.amount_znc:.2f} ZNC",
                "metadata": {"payment_id": str(payment.id)},
            }
        )
        made = self._client.ask(HttpVerb.POST, "/payments", asked, key=str(payment.id))
        payment.provider_payment_id = str(made["id"])
        return str(made["confirmation"]["confirmation_url"])

    def verify(self, callback: Callback) -> StatusHint | None:
        if not addresses.is_in(callback.address, self._rules.yookassa_networks):
            raise CallbackRefused("untrusted_address")
        try:
            body = json.loads(callback.body)
            kind = str(body["event"]).partition(".")[0]
            return StatusHint(str(body["object"][_PAYMENT_AT[kind]])) if kind in _PAYMENT_AT else None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise CallbackRefused("malformed") from None

    def cancel(self, session: Session, payment: Payment) -> None:
        """Let the payment expire: YooKassa cancels only paid and not captured payments (API, "Cancel a payment")."""

    def fetch(self, session: Session, payment: Payment) -> list[Event]:  # noqa: ARG002 - the interface's
        found = self._client.ask(HttpVerb.GET, f"/payments/{payment.provider_payment_id}")
        try:
            if found["status"] not in {"succeeded", "canceled"}:
                return []
            # The status is part of the id: the same report is stored once, however often it is fetched.
            event = _event(f"{found['id']}:{found['status']}", found, found["id"], outcome=found["status"])
            if event.outcome == "canceled":
                return [event]
            reported = [_of_refund(refund, found["id"]) for refund in self._refunds(found["id"])]
            return [event, *(each for each in reported if each is not None)]
        except (KeyError, TypeError, AttributeError, InvalidOperation):
            raise ProviderDown from None

    def refund(self, session: Session, payment: Payment, amount_rub: Decimal, key: str) -> Refund:  # noqa: ARG002
        # Keys are forgotten after a day (yookassa.ru/developers, "Idempotence").
        listed = self._refunds(str(payment.provider_payment_id))
        made = next((refund for refund in listed if (refund.get("metadata") or {}).get("key") == key), None)
        if made is None:
            ids = {"payment_id": payment.provider_payment_id, "metadata": {"key": key}}
            asked = RefundRequest({**ids, "amount": _amount(amount_rub)})
            made = self._client.ask(HttpVerb.POST, "/refunds", asked, key=key)
        if made["status"] == "canceled":
            raise ProviderRefused(f"YooKassa says: {_reason(made) or 'canceled'}")
        return Refund(str(made["id"]), is_done=made["status"] == "succeeded")

    def _refunds(self, payment_id: str) -> list[dict[str, Any]]:
        found = self._client.ask(HttpVerb.GET, "/refunds", query={"payment_id": payment_id, "limit": 100})
        try:
            return list(found["items"])
        except (KeyError, TypeError):
            raise ProviderDown from None


class _Client(ApiClient):  # type: ignore[misc]  # the library has no types
    """The library's client for one shop, without its global configuration and with a timeout."""

    def __init__(self, endpoint: str, shop_id: str, secret_key: str) -> None:
        # The parent would read the library's global configuration, which two shops in one process would share.
        self.configuration = Configuration
        self.endpoint = endpoint
        self.shop_id, self.shop_password, self.auth_token = shop_id, secret_key, None
        self.user_agent = UserAgent()

    def get_session(self) -> requests.Session:
        return _SessionWithTimeout()

    def ask(
        self,
        method: str,
        path: str,
        body: RequestObject | None = None,
        *,
        key: str = "",
        query: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Call YooKassa. Raises ProviderDown when the call may be retried, ProviderRefused when not."""
        headers = {"Idempotence-Key": key} if key else {}
        try:
            answer: dict[str, Any] = self.request(method, path, query, headers, body)
        except _TEMPORARY:
            raise ProviderDown from None
        except ApiError as error:
            # A status without a class of its own in the library comes from a proxy in between, not from YooKassa.
            if type(error) is ApiError:
                raise ProviderDown from None
            message = (error.content or {}).get("description") or type(error).__name__
            raise ProviderRefused(f"YooKassa says: {message}", reason=_kind(error)) from None
        except (requests.RequestException, ValueError, AttributeError):
            # On a lost connection the library raises AttributeError: it looks for the response in the error.
            raise ProviderDown from None
        return answer


class _SessionWithTimeout(requests.Session):
    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False

    def request(self, *arguments: Any, **options: Any) -> requests.Response:
        return super().request(*arguments, **{**options, "timeout": TIMEOUT_SECONDS, "allow_redirects": False})


def _kind(error: ApiError) -> str:
    if isinstance(error, UnauthorizedError | ForbiddenError):
        return "setup"
    return "amount" if str((error.content or {}).get("parameter") or "").startswith("amount") else "other"


def _amount(rubles: Decimal) -> dict[str, str]:
    return {"value": f"{rubles:.2f}", "currency": "RUB"}


def _reason(about: dict[str, Any]) -> str:
    return str((about.get("cancellation_details") or {}).get("reason") or "")


def _of_refund(refund: dict[str, Any], payment_id: str) -> Event | None:
    """Return the event of a refund; None for a pending one, which may still be canceled (API, "Refund object")."""
    if refund["status"] == "succeeded":
        return _event(f"refund:{refund['id']}", refund, payment_id, outcome="refunded")
    if refund["status"] == "canceled":
        return _event(f"refund:{refund['id']}:canceled", refund, payment_id, outcome="refund_failed")
    return None


def _event(event_id: str, about: dict[str, Any], payment_id: str, *, outcome: Any) -> Event:
    is_refund = outcome in {"refunded", "refund_failed"}
    return Event(
        event_id=event_id,
        provider_payment_id=str(payment_id),
        outcome=outcome,
        amount_rub=Decimal(about["amount"]["value"]),
        currency=str(about["amount"]["currency"]),
        body=about,
        refund_id=str(about["id"]) if is_refund else None,
        refund_key=(about.get("metadata") or {}).get("key") if is_refund else None,
        failure=_FAILURES.get(_reason(about), PaymentFailure.DECLINED) if outcome == "canceled" else None,
    )
