"""Admin pages for bundles, coupons and gift codes, and for revoking a user's token."""

import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from models.bundles import Bundle
from models.coupons import Coupon
from models.gift_codes import GiftCode
from models.services.ledger.money import parse_amount
from models.services.promotions import coupons, gift_codes
from models.services.tokens import bundles, revocation
from models.services.tokens import queries as token_queries
from portal.documents import list_export
from portal.forms.admin import BundleEditForm, CouponForm, GiftCodesForm, ReasonForm
from portal.forms.domain_errors import flashed_errors, form_errors
from portal.i18n import gettext as _
from portal.request import auth, context
from portal.request.pagination import page_slice

blueprint = Blueprint("admin_offers", __name__, url_prefix="/admin")
blueprint.before_request(auth.require_admin)


@blueprint.get("/offers")
def overview() -> str | Response:
    """Show the lists of bundles, coupons and gift codes, or one of them as CSV."""
    if list_export.is_wanted():
        return _list_as_csv(request.args.get("list", ""))
    session = context.session()
    return render_template(
        "admin/offers.html",
        bundles=bundles.list_bundles(session, **page_slice("bundles")),
        coupons=coupons.list_coupons(session, **page_slice("coupons")),
        gifts=gift_codes.list_codes(session, **page_slice("gifts")),
    )


@blueprint.route("/bundles/new", methods=["GET", "POST"])
def new_bundle() -> str | Response | tuple[str, int]:
    """Create a bundle."""
    form = BundleEditForm.with_choices(context.settings(), discount_percent=10, token_count=5, duration_hours=24)
    return _bundle_form_page(form, None)


@blueprint.route("/bundles/<uuid:bundle_id>", methods=["GET", "POST"])
def edit_bundle(bundle_id: uuid.UUID) -> str | Response | tuple[str, int]:
    """Edit a bundle; earlier purchases are not affected."""
    bundle = bundles.by_id(context.session(), bundle_id)
    known = {name: getattr(bundle, name) for name in BundleEditForm()._fields}
    return _bundle_form_page(BundleEditForm.with_choices(context.settings(), **known), bundle)


@blueprint.post("/bundles/<uuid:bundle_id>/active")
def set_bundle_active(bundle_id: uuid.UUID) -> Response:
    """Withdraw a bundle or offer it again."""
    with context.transaction() as session:
        bundles.set_active(session, bundle_id, active=request.form.get("active") == "1", actor=context.actor())
    return _to_overview()


@blueprint.route("/coupons/new", methods=["GET", "POST"])
def new_coupon() -> str | Response | tuple[str, int]:
    """Create a coupon."""
    form = CouponForm(request.form if request.method == "POST" else None)
    if request.method == "POST" and form.validate():
        facts = {name: field.data for name, field in form._fields.items() if name != "valid_until"}
        with form_errors(form) as result, context.transaction() as session:
            coupons.create(session, **facts, valid_until=_end_of_day(form.valid_until.data), actor=context.actor())
        if result.is_done:
            flash(_("Coupon created."), "good")
            return _to_overview()
    return _form_page(form, _("New coupon"))


@blueprint.post("/coupons/<uuid:coupon_id>/active")
def set_coupon_active(coupon_id: uuid.UUID) -> Response:
    """Disable or enable a coupon."""
    with context.transaction() as session:
        coupons.set_active(session, coupon_id, active=request.form.get("active") == "1", actor=context.actor())
    return _to_overview()


@blueprint.route("/gifts/new", methods=["GET", "POST"])
def new_gifts() -> Response | str | tuple[str, int]:
    """Create gift codes and show them once, in this response; a form submitted twice creates them once."""
    form = GiftCodesForm(request.form if request.method == "POST" else None, data={"key": uuid.uuid4()})
    if request.method == "POST" and form.validate():
        repeated = _("These codes have already been created; no more were added. They were shown once.")
        with form_errors(form, repeated=repeated) as result, context.transaction() as session:
            amount = parse_amount(str(form.amount.data))
            codes = gift_codes.create(
                session,
                amount=amount,
                count=form.count.data or 0,
                uses_each=form.uses_each.data or 0,
                valid_until=_end_of_day(form.valid_until.data),
                note=str(form.note.data),
                settings=context.settings(),
                actor=context.actor(),
                key=form.key.data,
            )
        if not result.is_done and not result.is_form_error:
            return _to_overview()
        if result.is_done:
            if request.form.get("as") == "csv":
                return list_export.rows_as_csv("gift-codes", ["code", "amount_znc"], ((code, amount) for code in codes))
            return render_template("admin/gift_codes.html", codes=codes, amount=amount)
    return _form_page(form, _("New gift codes"), as_file=_("Create and download CSV"))


@blueprint.post("/gifts/<uuid:gift_id>/active")
def set_gift_active(gift_id: uuid.UUID) -> Response:
    """Disable or enable a gift code."""
    with context.transaction() as session:
        gift_codes.set_active(session, gift_id, active=request.form.get("active") == "1", actor=context.actor())
    return _to_overview()


@blueprint.route("/tokens/<uuid:token_id>/end", methods=["GET", "POST"])
def revoke_token(token_id: uuid.UUID) -> str | Response | tuple[str, int]:
    """Revoke a user's token without a refund; the reason is e-mailed to the owner."""
    token = token_queries.by_id(context.session(), token_id)
    form = ReasonForm(request.form if request.method == "POST" else None)
    if request.method == "POST" and form.validate():
        with (
            flashed_errors(category="info") as change,
            form_errors(form) as result,
            context.transaction() as session,
        ):
            revocation.force_revoke(session, token_id, reason=str(form.reason.data), actor=context.actor())
        if change.is_done and result.is_done:
            flash(_("Token revoked; its owner is notified of the reason."), "good")
        if not result.is_form_error:
            return redirect(url_for("admin.user_detail", user_id=token.user_id), 303)
    title, tokens = _("Revoke token %(prefix)s…", prefix=token.prefix), url_for("admin.token_list")
    return _form_page(form, title, _("Revoke without refund"), back=tokens, back_label=_("Tokens"))


BUNDLE_COLUMNS = ("id", "name", "description", "token_count", "duration_hours", "scope", "discount_percent")
COUPON_COLUMNS = ("code", "percent", "amount", "uses_in_all", "valid_until", "created_at")
GIFT_COLUMNS = ("prefix", "note", "amount_znc", "uses", "uses_in_all", "valid_until", "created_at")


def _list_as_csv(name: str) -> Response:
    """Return one of the lists as CSV; gift codes only by their prefix."""
    head: tuple[str, ...]
    rows: Iterator[Sequence[list_export.Cell]]
    match name:
        case "bundles":
            head = (*BUNDLE_COLUMNS, "is_active")
            rows = (_cells(row, BUNDLE_COLUMNS) for row in list_export.all_rows(bundles.list_bundles))
        case "coupons":
            head = (*COUPON_COLUMNS, "is_active", "uses", "given_znc")
            found = list_export.all_rows(coupons.list_coupons)
            rows = ((*_cells(row, COUPON_COLUMNS), uses, given) for row, uses, given in found)
        case "gifts":
            head = (*GIFT_COLUMNS, "is_active")
            rows = (_cells(row, GIFT_COLUMNS) for row in _gifts())
        case _:
            abort(404)
    return list_export.rows_as_csv(name, head, rows)


def _gifts() -> Iterator[GiftCode]:
    # Runs while the response is sent, when the view's database session has ended.
    yield from gift_codes.all_codes().rows(context.session())


def _cells(row: Bundle | Coupon | GiftCode, columns: Sequence[str]) -> tuple[list_export.Cell, ...]:
    plain = (getattr(row, column) for column in columns)
    return (*(str(cell) if isinstance(cell, uuid.UUID) else cell for cell in plain), str(row.is_active))


def _bundle_form_page(form: BundleEditForm, bundle: Bundle | None) -> str | Response | tuple[str, int]:
    title = _("New bundle") if bundle is None else _("Edit bundle %(name)s", name=bundle.name)
    if request.method == "POST" and form.validate():
        facts: dict[str, Any] = {name: field.data for name, field in form._fields.items()}
        with form_errors(form) as result, context.transaction() as session:
            bundles.save(session, bundle, **facts, settings=context.settings(), actor=context.actor())
        if result.is_done:
            flash(_("Bundle saved."), "good")
            return _to_overview()
    return _form_page(form, title)


def _form_page(form: object, title: str, button: str = "", **options: str) -> tuple[str, int]:
    """Render a form; `as_file` is a second button, `back` and `back_label` are the link above, by default to offers."""
    page = render_template("admin/offer_form.html", form=form, title=title, button=button or _("Save"), **options)
    return page, 400 if request.method == "POST" else 200


def _to_overview() -> Response:
    return redirect(url_for("admin_offers.overview"), 303)


def _end_of_day(day: date | None) -> datetime | None:
    """Return the end of a day in UTC."""
    return None if day is None else datetime.combine(day, time.max, UTC)
