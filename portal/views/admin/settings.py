"""Admin pages for settings that change at run time: prices, limits, maintenance; with history and undo."""

import json
from collections.abc import Callable

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask import Response as FlaskResponse
from werkzeug.wrappers import Response

from models.services.settings import overrides
from models.setting_changes import SettingChange
from portal.documents import list_export
from portal.forms.domain_errors import flashed_errors, form_errors
from portal.forms.settings import SettingForm, UndoForm
from portal.i18n import gettext as _
from portal.request import auth, context
from portal.request.pagination import PageSlice, page_slice

blueprint = Blueprint("admin_settings", __name__, url_prefix="/admin/settings")
blueprint.before_request(auth.require_admin)

RECENT_CHANGES = PageSlice(limit=10, offset=0)
CHANGE_COLUMNS: dict[str, Callable[[SettingChange], list_export.Cell]] = {
    "id": lambda change: change.id,
    "created_at": lambda change: change.created_at,
    "setting": lambda change: change.key,
    # Empty where the value of config.toml was restored.
    "value": lambda change: None if change.value is None else json.dumps(change.value, ensure_ascii=False),
    "actor": lambda change: change.actor.email if change.actor else None,
    "reason": lambda change: change.reason,
}


@blueprint.get("")
def overview() -> str:
    """Show every setting that can change, and the latest changes."""
    found = overrides.list_settings(context.session(), context.frozen_settings())
    groups: dict[str, list[overrides.Setting]] = {}
    for setting in found:
        groups.setdefault(setting.key.partition(".")[0], []).append(setting)
    changes = overrides.history(context.session(), **RECENT_CHANGES)
    return render_template("admin/settings.html", groups=groups, changes=changes)


@blueprint.get("/history")
def history() -> str | FlaskResponse:
    """List all changes."""
    if list_export.is_wanted():
        return list_export.as_csv("settings-history", CHANGE_COLUMNS, overrides.changes())
    return render_template("admin/settings_history.html", changes=overrides.history(context.session(), **page_slice()))


@blueprint.get("/<key>")
def form(key: str) -> str:
    """Show one setting with its history and the form to change it."""
    setting = overrides.setting(context.session(), context.frozen_settings(), key)
    return _page(setting, SettingForm.of(setting))


@blueprint.post("/<key>")
def change(key: str) -> str | Response | tuple[str, int]:
    """Change a value, or restore that of config.toml."""
    setting = overrides.setting(context.session(), context.frozen_settings(), key)
    filled = SettingForm.of(setting)
    if not filled.validate():
        return _page(setting, filled), 400
    with flashed_errors() as change, form_errors(filled) as result, context.transaction() as session:
        overrides.change(
            session,
            context.frozen_settings(),
            key,
            value=None if request.form.get("back") else filled.parsed(),
            reason=str(filled.reason.data),
            seen=filled.seen.data or 0,
            actor=context.actor(),
        )
    if result.is_form_error:
        return _page(setting, filled), result.status
    return _changed() if change.is_done else redirect(url_for("admin_settings.form", key=key), 303)


@blueprint.post("/changes/<int:change_id>/undo")
def undo(change_id: int) -> Response:
    """Revert a change."""
    form = UndoForm(request.form)
    with flashed_errors() as change, context.transaction() as session:
        reason = form.reason.data or _("Reverted")
        overrides.undo(session, context.frozen_settings(), change_id, reason=reason, actor=context.actor())
    return _changed() if change.is_done else redirect(url_for("admin_settings.overview"), 303)


def _changed() -> Response:
    context.runtime_settings().forget()
    flash(_("Saved. Portal, jobs and all proxy workers apply it within two seconds."), "good")
    return redirect(url_for("admin_settings.overview"), 303)


def _page(setting: overrides.Setting, form: SettingForm) -> str:
    changes = overrides.history(context.session(), key=setting.key, **page_slice())
    return render_template("admin/setting.html", setting=setting, form=form, changes=changes)
