"""Admin pages for announcements: publish and withdraw."""

import uuid
from datetime import UTC, datetime

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask import Response as FlaskResponse
from werkzeug.wrappers import Response

from models.announcements import Announcement, Level
from models.services.notifications import announcements
from portal.documents import list_export
from portal.forms.admin import AnnouncementForm
from portal.forms.domain_errors import form_errors
from portal.i18n import gettext as _
from portal.request import announcement_banner, auth, context

blueprint = Blueprint("admin_announcements", __name__, url_prefix="/admin/announcements")
blueprint.before_request(auth.require_admin)

COLUMNS: dict[str, list_export.Column[Announcement]] = {
    "id": lambda each: str(each.id),
    "level": lambda each: each.level.value,
    "words_en": lambda each: each.words_en,
    "words_ru": lambda each: each.words_ru,
    "starts_at": lambda each: each.starts_at,
    "ends_at": lambda each: each.ends_at,
    "withdrawn_at": lambda each: each.withdrawn_at,
    "author": lambda each: each.author.email,
}


@blueprint.get("")
def listing() -> str | FlaskResponse:
    """List announcements, with the form for a new one."""
    if list_export.is_wanted():
        return list_export.as_csv("announcements", COLUMNS, announcements.list_announcements())
    return _page(AnnouncementForm(data={"key": uuid.uuid4()}))


@blueprint.post("")
def make() -> str | Response | tuple[str, int]:
    """Publish an announcement; a form submitted twice publishes once."""
    form = AnnouncementForm(request.form)
    if not form.validate():
        return _page(form), 400
    with form_errors(form) as result, context.transaction() as session:
        announcements.create(
            session,
            level=Level(form.level.data),
            words_en=str(form.words_en.data),
            words_ru=str(form.words_ru.data),
            starts_at=_in_utc(form.starts_at.data),
            ends_at=_in_utc(form.ends_at.data),
            actor=context.actor(),
            announcement_id=form.key.data,
        )
    if not result.is_done:
        return _page(form), result.status
    announcement_banner.announcement_cache().forget()
    flash(_("The announcement has been published."), "good")
    return redirect(url_for("admin_announcements.listing"), 303)


@blueprint.post("/<uuid:announcement_id>/withdraw")
def withdraw(announcement_id: uuid.UUID) -> Response:
    """Withdraw an announcement."""
    with context.transaction() as session:
        announcements.withdraw(session, announcement_id, actor=context.actor())
    announcement_banner.announcement_cache().forget()
    flash(_("The announcement has been withdrawn."), "good")
    return redirect(url_for("admin_announcements.listing"), 303)


def _page(form: AnnouncementForm) -> str:
    return render_template(
        "admin/announcements.html", page=list_export.page_of(announcements.list_announcements()), form=form
    )


def _in_utc(moment: datetime | None) -> datetime | None:
    return moment and moment.replace(tzinfo=UTC)
