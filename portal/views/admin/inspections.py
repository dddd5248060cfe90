"""Admin pages for inspections: which flows are shown in mitmweb, by whom and until when."""

import uuid

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask import Response as FlaskResponse
from werkzeug.wrappers import Response

from models import clock
from models.inspections import Inspection, InspectionTarget
from models.services.gateway import inspections
from models.services.pagination import ListQuery
from portal.documents import list_export
from portal.forms.domain_errors import form_errors
from portal.forms.inspections import InspectionForm
from portal.i18n import gettext as _
from portal.request import auth, context

blueprint = Blueprint("admin_inspections", __name__, url_prefix="/admin/inspections")
blueprint.before_request(auth.require_admin)

COLUMNS: dict[str, list_export.Column[Inspection]] = {
    "id": lambda each: str(each.id),
    "target": lambda each: each.target.value,
    "path": lambda each: each.path,
    "token": lambda each: each.token.prefix if each.token else None,
    "user": lambda each: each.user.email if each.user else each.token.user.email if each.token else None,
    "reason": lambda each: each.reason,
    "started_at": lambda each: each.started_at,
    "started_by": lambda each: each.started_by.email,
    "ends_at": lambda each: each.ends_at,
    "ended_at": lambda each: each.ended_at,
    "ended_by": lambda each: each.ended_by.email if each.ended_by else None,
    "is_running": lambda each: str(each.is_running(clock.now())),
}


@blueprint.get("")
def listing() -> str | FlaskResponse:
    """List inspections, with the form for a new one; `target` and `name` in the query prefill it."""
    if list_export.is_wanted():
        return list_export.as_csv("inspections", COLUMNS, _listing())
    target = next(
        (known for known in InspectionTarget if known == request.args.get("target")), InspectionTarget.EVERYTHING
    )
    rules = context.settings().inspection
    return _page(InspectionForm.of(rules, target=target.value, name=request.args.get("name", "")[:200]))


@blueprint.post("")
def start() -> str | Response | tuple[str, int]:
    """Start an inspection."""
    rules = context.settings().inspection
    form = InspectionForm.of(rules)
    if not form.validate():
        return _page(form), 400
    with form_errors(form) as result, context.transaction() as session:
        inspections.start(
            session,
            target=InspectionTarget(form.target.data),
            name=str(form.name.data or ""),
            minutes=form.minutes.data,
            reason=str(form.reason.data),
            rules=rules,
            actor=context.actor(),
        )
    if not result.is_done:
        return _page(form), result.status
    flash(_("The inspection is active and ends automatically."), "good")
    return redirect(url_for("admin_inspections.listing"), 303)


@blueprint.post("/<uuid:inspection_id>/end")
def end(inspection_id: uuid.UUID) -> Response:
    """End an inspection."""
    with context.transaction() as session:
        inspections.end(session, inspection_id, actor=context.actor())
    flash(_("The inspection has ended."), "good")
    return redirect(url_for("admin_inspections.listing"), 303)


def _page(form: InspectionForm) -> str:
    page = list_export.page_of(_listing())
    return render_template("admin/inspections.html", page=page, form=form, running_only=_running_only())


def _running_only() -> bool:
    return request.args.get("running") == "1"


def _listing() -> ListQuery[Inspection]:
    return inspections.list_inspections(running_only=_running_only())
