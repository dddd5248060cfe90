"""Blueprints of the API: guarded by authentication, and exempt from the CSRF check of pages."""

from flask_openapi3 import APIBlueprint

from portal.api import authentication
from portal.api.openapi.document import tag
from portal.api.responses import refuse_unreadable_body
from portal.extensions import csrf

PREFIX = "/api/v1"


def blueprint(name: str, about: str, *, prefix: str | None = None) -> APIBlueprint:
    """Return a blueprint under /api/v1/NAME, or under another prefix there; an empty one is /api/v1 itself."""
    path = PREFIX if prefix == "" else f"{PREFIX}/{prefix or name}"
    made = APIBlueprint(
        f"api_{name}",
        __name__,
        url_prefix=path,
        abp_tags=tag(name, about),
        operation_id_callback=_operation_id,
    )
    made.before_request(authentication.admit)
    made.before_request(refuse_unreadable_body)
    made.after_request(authentication.show_allowance)
    # No endpoint accepts the portal's cookie, so a foreign page cannot use it.
    csrf.exempt(made)
    return made


def _operation_id(*, bp_name: str = "", name: str = "", path: str = "", method: str = "") -> str:  # noqa: ARG001
    return f"{bp_name.removeprefix('api_')}_{name}"
