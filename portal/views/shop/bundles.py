"""Bundles: list and purchase of several tokens at once."""

import uuid

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from models.services.errors import DomainError, InsufficientFunds
from models.services.ledger import transfers
from models.services.tokens import bundles
from portal.forms.domain_errors import form_errors
from portal.forms.shop import BundleForm
from portal.i18n import gettext as _
from portal.request import auth, context
from portal.request.pagination import page_slice
from portal.views.shop.coupon_quotes import prices_with_coupon

blueprint = Blueprint("bundles", __name__)
blueprint.before_request(auth.require_login)

PRICE_KEY = 1  # the page shows a single price


@blueprint.get("/bundles")
def listing() -> str:
    """List bundles on sale."""
    wallet = transfers.wallet_of(context.session(), context.user().id)
    settings = context.settings()
    page = bundles.on_sale(context.session(), settings, **page_slice())
    offers = [(bundle, bundles.price_of(bundle, settings)) for bundle in page.items]
    return render_template("bundles/list.html", page=page, offers=offers, wallet=wallet)


@blueprint.get("/bundles/<uuid:bundle_id>")
def buy_form(bundle_id: uuid.UUID) -> str:
    """Show a bundle with its price and the purchase form."""
    form = BundleForm(data={"purchase_id": uuid.uuid4(), "coupon": request.args.get("coupon", "")[:32]})
    return _buy_page(bundle_id, form)


@blueprint.post("/bundles/<uuid:bundle_id>")
def buy(bundle_id: uuid.UUID) -> str | Response | tuple[str, int]:
    """Sell a bundle and show its secrets once, in this response."""
    form = BundleForm(request.form)
    is_fit = form.validate()
    if not is_fit or form.purchase_id.data is None or "quote" in request.form:
        return _buy_page(bundle_id, form), 200 if is_fit else 400
    repeated = _("This bundle has already been purchased and was not charged twice. Its secrets were shown once.")
    with form_errors(form, repeated=repeated) as result, context.transaction() as session:
        sold, made = bundles.purchase(
            session,
            context.user(),
            bundle_id,
            purchase_id=form.purchase_id.data,
            settings=context.fresh_settings(session),
            actor=context.actor(),
            coupon=form.coupon.data or "",
            shown=form.shown.of(PRICE_KEY),
        )
    if result.is_form_error:
        return _buy_page(bundle_id, form, result.error), result.status
    if not result.is_done:
        return redirect(url_for("tokens.listing"), 303)
    wallet = transfers.wallet_of(context.session(), context.user().id)
    return render_template("bundles/secrets.html", sold=sold, made=made, wallet=wallet)


def _buy_page(bundle_id: uuid.UUID, form: BundleForm, error: DomainError | None = None) -> str:
    bundle = bundles.find_offered(context.session(), bundle_id)
    wallet = transfers.wallet_of(context.session(), context.user().id)
    top_up = None
    if isinstance(error, InsufficientFunds):
        back = url_for("bundles.buy_form", bundle_id=bundle_id, coupon=form.coupon.data or None)
        top_up = url_for("wallet.overview", amount=f"{error.needed - wallet.balance:.2f}", next=back)
    price = bundles.price_of(bundle, context.settings())
    form.shown.now = {PRICE_KEY: price.total}
    quote = prices_with_coupon(form, form.shown.now)[PRICE_KEY]
    facts = {"bundle": bundle, "price": price, "quote": quote, "form": form, "wallet": wallet, "top_up": top_up}
    return render_template("bundles/buy.html", **facts)
