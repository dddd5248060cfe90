"""The wallet: balance, topping up, gift codes, payments, transactions."""

import logging
import uuid

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from models.ledger import TransferKind
from models.payments import PaymentStatus
from models.services.errors import ProviderDown, ProviderRefused
from models.services.ledger import transfers
from models.services.ledger.money import parse_amount
from models.services.payments import payment_queries, providers, topups
from models.services.promotions import gift_codes
from portal.forms.domain_errors import form_errors
from portal.forms.shop import GiftForm, TopUpForm
from portal.i18n import gettext as _
from portal.presentation import formatting
from portal.request import auth, context, rate_limits, security_headers
from portal.request.pagination import page_slice
from portal.request.safe_redirects import local_path, own_address, without_own_origin

logger = logging.getLogger(__name__)

blueprint = Blueprint("wallet", __name__, url_prefix="/wallet")
blueprint.before_request(auth.require_login)


@blueprint.after_request
def let_forms_lead_to_checkouts(response: Response) -> Response:
    """Allow the top-up form to redirect to the provider's checkout (CSP form-action)."""
    settings = context.settings()
    origins = [
        origin for name in settings.payments.providers for origin in providers.get(name, settings).checkout_origins
    ]
    response.headers["Content-Security-Policy"] = security_headers.content_security_policy(
        forms_lead_to=" ".join(origins)
    )
    return response


@blueprint.get("")
def overview() -> str:
    """Show the balance, the top-up form and the transactions."""
    return _wallet_page(_top_up_form())


@blueprint.post("/top-up")
def top_up() -> str | Response | tuple[str, int]:
    """Start a payment and send the user to the provider's checkout."""
    settings = context.settings()
    form = TopUpForm.with_providers(settings)
    if not form.validate():
        return _wallet_page(form), 400
    back = local_path(form.next.data, "") or None
    with form_errors(form) as result, context.transaction() as session:
        payment_id = uuid.uuid4()
        started = topups.start(
            session,
            context.user(),
            payment_id=payment_id,
            amount=parse_amount(str(form.amount.data), at_most=settings.limits.topup_max_znc),
            provider=str(form.provider.data),
            return_url=own_address(url_for("wallet.payment", payment_id=payment_id, next=back, returned=1)),
            settings=settings,
            actor=context.actor(),
        )
    if not result.is_done:
        if isinstance(result.error, ProviderDown | ProviderRefused):
            logger.warning("a payment through %s was not started: %s", form.provider.data, result.error)
        return _wallet_page(form), result.status
    return redirect(without_own_origin(started.checkout_url), 303)


@blueprint.post("/gift")
def redeem() -> str | Response | tuple[str, int]:
    """Credit a gift code to the wallet and return to the purchase, if any."""
    gift = GiftForm(request.form)
    if not gift.validate():
        return _wallet_page(_top_up_form(), gift), 400
    rate_limits.count_gift_code(context.user().id)
    with form_errors(gift) as result, context.transaction() as session:
        code = str(gift.code.data)
        credited = gift_codes.redeem(session, context.user(), code, settings=context.settings(), actor=context.actor())
    if not result.is_done:
        return _wallet_page(_top_up_form(), gift), result.status
    flash(_("%(amount)s ZNC were credited to your wallet.", amount=formatting.amount(credited)), "good")
    return redirect(local_path(request.args.get("next"), url_for("wallet.overview")), 303)


@blueprint.get("/payments/<uuid:payment_id>")
def payment(payment_id: uuid.UUID) -> str:
    """Show the status of a payment; the page refreshes itself until it is final."""
    user = context.user()
    return render_template(
        "wallet/payment.html",
        payment=payment_queries.owned(context.session(), user, payment_id),
        wallet=transfers.wallet_of(context.session(), user.id),
        next=local_path(request.args.get("next"), ""),
        # A user who returns from the checkout has most likely paid, so its link is not the main action.
        returned="returned" in request.args,
    )


@blueprint.post("/payments/<uuid:payment_id>/withdraw")
def withdraw(payment_id: uuid.UUID) -> Response:
    """Cancel a pending payment for its payer."""
    with context.transaction() as session:
        settings, actor = context.settings(), context.actor()
        status = topups.withdraw(session, context.user(), payment_id, settings=settings, actor=actor)
    if status is PaymentStatus.EXPIRED:
        flash(_("Payment canceled. If it was paid anyway, its ZNC will be credited."), "good")
    return redirect(url_for("wallet.payment", payment_id=payment_id), 303)


def _top_up_form() -> TopUpForm:
    return TopUpForm.with_providers(
        context.settings(), amount=request.args.get("amount", "")[:20], next=local_path(request.args.get("next"), "")
    )


def _wallet_page(form: TopUpForm, gift: GiftForm | None = None) -> str:
    user = context.user()
    wallet = transfers.wallet_of(context.session(), user.id)
    kind = next((known for known in TransferKind if known == request.args.get("type")), None)
    return render_template(
        "wallet/wallet.html",
        form=form,
        gift=gift or GiftForm(),
        wallet=wallet,
        debt=transfers.debt_of(context.session(), user.id),
        kind=kind,
        kinds=list(TransferKind),
        transactions=transfers.transactions(context.session(), wallet, kind=kind, **page_slice()),
        payments=payment_queries.list_payments(context.session(), user_id=user.id, **page_slice("payments")),
        signed_amount=transfers.signed_amount,
    )
