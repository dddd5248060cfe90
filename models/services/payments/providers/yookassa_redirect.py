"""YooKassa: its callbacks carry no signature, so they only make us ask its API (yookassa.ru/developers, "Webhooks").

Who calls must also be on the list of addresses that YooKassa publishes. Asking uses the library's requests and
errors with a connection of our own, because the library's waits for an answer without end.
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
from models.services.payments.providers.base import Ask, Callback, Event, Refund

TIMEOUT_SECONDS = 10
_MAY_PASS = (InternalServerError, ResponseProcessingError, TooManyRequestsError)
# What a callback may be about, and where in it the payment is named.
_PAYMENT_AT = {"payment": "id", "refund": "payment_id"}
# Why a payment was canceled, where that is not a bank's refusal (yookassa.ru/developers, "Canceled payments").
_FAILURES = {
    "expired_on_confirmation": PaymentFailure.ABANDONED,
    "canceled_by_merchant": PaymentFailure.WITHDRAWN,
}


class YooKassaRedirect:
    """Our side of YooKassa, with its own payment page."""

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

    def verify(self, callback: Callback) -> Ask | None:
        if not addresses.is_in(callback.address, self._rules.yookassa_networks):
            raise CallbackRefused("untrusted_address")
        try:
            said = json.loads(callback.body)
            kind = str(said["event"]).partition(".")[0]
            return Ask(str(said["object"][_PAYMENT_AT[kind]])) if kind in _PAYMENT_AT else None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise CallbackRefused("malformed") from None

    def cancel(self, session: Session, payment: Payment) -> None:
        """Let the payment lapse: YooKassa cancels only what is paid and not captured (API, "Cancel a payment")."""

    def fetch(self, session: Session, payment: Payment) -> list[Event]:  # noqa: ARG002 - the interface's
        found = self._client.ask(HttpVerb.GET, f"/payments/{payment.provider_payment_id}")
        try:
            if found["status"] not in {"succeeded", "canceled"}:
                return []
            # The status is part of the id: the same report is stored once, however often it is fetched.
            said = _event(f"{found['id']}:{found['status']}", found, found["id"], outcome=found["status"])
            if said.outcome == "canceled":
                return [said]
            reported = [_of_refund(refund, found["id"]) for refund in self._refunds(found["id"])]
            return [said, *(event for event in reported if event is not None)]
        except (KeyError, TypeError, AttributeError, InvalidOperation):
            raise ProviderDown from None

    def refund(self, session: Session, payment: Payment, amount_rub: Decimal, key: str) -> Refund:  # noqa: ARG002
        # Keys are forgotten after a day (yookassa.ru/developers, "Idempotence").
        listed = self._refunds(str(payment.provider_payment_id))
        made = next((refund for refund in listed if (refund.get("metadata") or {}).get("key") == key), None)
        if made is None:
            named = {"payment_id": payment.provider_payment_id, "metadata": {"key": key}}
            asked = RefundRequest({**named, "amount": _amount(amount_rub)})
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
    """The library's client for one shop, without its global configuration, with an end to its patience."""

    def __init__(self, endpoint: str, shop_id: str, secret_key: str) -> None:
        # The parent would read the library's global configuration, which two shops in one process would share.
        self.configuration = Configuration
        self.endpoint = endpoint
        self.shop_id, self.shop_password, self.auth_token = shop_id, secret_key, None
        self.user_agent = UserAgent()

    def get_session(self) -> requests.Session:
        return _ImpatientSession()

    def ask(
        self,
        method: str,
        path: str,
        body: RequestObject | None = None,
        *,
        key: str = "",
        query: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Ask YooKassa. Raises ProviderDown when it may be asked again, ProviderRefused when not."""
        headers = {"Idempotence-Key": key} if key else {}
        try:
            answer: dict[str, Any] = self.request(method, path, query, headers, body)
        except _MAY_PASS:
            raise ProviderDown from None
        except ApiError as error:
            # A status that the library has no name for is not YooKassa's, but of something on the way to it.
            if type(error) is ApiError:
                raise ProviderDown from None
            said = (error.content or {}).get("description") or type(error).__name__
            raise ProviderRefused(f"YooKassa says: {said}", reason=_kind(error)) from None
        except (requests.RequestException, ValueError, AttributeError):
            # The library stumbles over a lost connection: it looks for the reply in the error.
            raise ProviderDown from None
        return answer


class _ImpatientSession(requests.Session):
    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False

    def request(self, *arguments: Any, **named: Any) -> requests.Response:
        return super().request(*arguments, **{**named, "timeout": TIMEOUT_SECONDS, "allow_redirects": False})


def _kind(error: ApiError) -> str:
    if isinstance(error, UnauthorizedError | ForbiddenError):
        return "setup"
    return "amount" if str((error.content or {}).get("parameter") or "").startswith("amount") else "other"


def _amount(roubles: Decimal) -> dict[str, str]:
    return {"value": f"{roubles:.2f}", "currency": "RUB"}


def _reason(about: dict[str, Any]) -> str:
    return str((about.get("cancellation_details") or {}).get("reason") or "")


def _of_refund(refund: dict[str, Any], payment_id: str) -> Event | None:
    """Say what became of a refund; one that is `pending` may still be `canceled` (API, "Refund object")."""
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
