"""Mail rendering: a kind and its context become subject, text and HTML in the reader's language.

`templates/mail/<kind>.jinja` has two blocks, `subject` and `body`. The body uses macros that `partials.txt.jinja` and
`partials.html.jinja` implement for both formats, so that each sentence exists once. A kind with a plain `<kind>.txt`
(subject, blank line, text) is sent as text only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from babel.dates import format_datetime
from babel.numbers import format_decimal
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from models import time_zones
from models.services import durations, messages
from models.translations import catalogue

TEMPLATES = Path(__file__).resolve().parents[3] / "templates" / "mail"
SUFFIX = ".jinja"
PARTIALS = ("layout", "partials")


@dataclass(frozen=True, slots=True)
class RenderedMail:
    """A rendered mail without its headers. A plain kind has no HTML."""

    subject: str
    text: str
    html: str | None


def kinds() -> list[str]:
    """Return every kind of mail that has a template."""
    names = {path.name.partition(".")[0] for path in TEMPLATES.iterdir() if path.suffix in {SUFFIX, ".txt"}}
    return sorted(names - set(PARTIALS))


def render(
    kind: str,
    context: Mapping[str, Any],
    *,
    language: str,
    portal_url: str,
    unsubscribe_url: str | None = None,
    time_zone: str | None = None,
) -> RenderedMail:
    """Render the mail, with times in the reader's zone.

    Raises jinja2's TemplateError for an unknown kind or a missing variable.
    """
    facts = {**context, "portal_url": portal_url, "unsubscribe_url": unsubscribe_url}
    plain = _environment(language, "txt", time_zone)
    if f"{kind}{SUFFIX}" not in plain.list_templates():
        subject, _, text = plain.get_template(f"{kind}.txt").render(facts).partition("\n\n")
        return RenderedMail(_one_line(subject), text, None)
    facts["subject"] = _one_line(_block(plain.get_template(f"{kind}{SUFFIX}"), "subject", facts))
    pages = [_page(_environment(language, form, time_zone), kind, form, facts) for form in ("txt", "html")]
    return RenderedMail(facts["subject"], *pages)


def _page(environment: Environment, kind: str, form: str, facts: Mapping[str, Any]) -> str:
    body = _block(environment.get_template(f"{kind}{SUFFIX}"), "body", facts)
    # The block was rendered by a template that escapes where needed.
    return environment.get_template(f"layout.{form}{SUFFIX}").render(facts, body=Markup(body))  # noqa: S704


def _block(template: Template, name: str, facts: Mapping[str, Any]) -> str:
    return "".join(template.blocks[name](template.new_context(dict(facts))))


def _one_line(text: str) -> str:
    return " ".join(text.split())


# There are hundreds of zones, and an environment keeps compiled templates: the least used are evicted.
@lru_cache(maxsize=64)
def _environment(language: str, form: str, time_zone: str | None) -> Environment:
    """Return the template environment for a reader: `html` escapes, `txt` shows user input as it is."""
    translations = catalogue(language)

    def gettext(message: str, **values: object) -> str:
        return _filled(translations.gettext(message), values)

    def duration(hours: int) -> str:
        return durations.format_duration(hours * 3600, language)

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=form == "html",  # noqa: S701 - text has nothing to escape: what a user typed stays as it is
    )
    filters: dict[str, Callable[..., str]] = {
        "znc": lambda amount: f"{format_decimal(Decimal(str(amount)), '#,##0.00', locale=language)} ZNC",
        "rub": lambda amount: f"{format_decimal(Decimal(str(amount)), '#,##0.00', locale=language)}\u00a0₽",
        "moment": lambda value: _moment(value, language, time_zone),
        "duration": duration,
    }
    environment.filters.update(filters)
    rule_text = partial(messages.ledger_rule_text, language=language)
    environment.globals.update(_=gettext, language=language, ledger_rule=rule_text)
    environment.globals["mail"] = environment.get_template(f"partials.{form}{SUFFIX}").module
    return environment


def _filled(text: str, values: Mapping[str, object]) -> str:
    return text % values if values else text


def _moment(value: str, language: str, time_zone: str | None) -> str:
    """Format a time given as ISO 8601 with its UTC offset."""
    moment, zone = datetime.fromisoformat(str(value)), time_zones.zone_of(time_zone)
    written = format_datetime(moment.astimezone(zone), "d MMM y, HH:mm", locale=language)
    return f"{written} {time_zones.offset_of(moment, zone)}"
