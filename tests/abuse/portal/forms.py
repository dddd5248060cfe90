"""Parses the forms of a page, with the values that a browser would send."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

# Fields that a user can fill in, or put into a hand-made request.
TYPED = {"text", "search", "email", "url", "tel", "textarea", "hidden", "number", ""}


@dataclass
class Form:
    """A form: its action, its fields with their values, and which of them are text fields."""

    method: str
    action: str
    values: dict[str, str] = field(default_factory=dict)
    typed: set[str] = field(default_factory=set)

    def key(self) -> tuple[str, tuple[str, ...]]:
        """Identify the form; the same form in each row of a table has one key."""
        return "/".join(part if part.isalpha() else "-" for part in self.action.split("/")), tuple(sorted(self.values))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(given.get("method", "get").upper(), given.get("action", "")))
        if not self.forms:
            return
        form, name = self.forms[-1], given.get("name", "")
        if tag == "option" and self._select and ("selected" in given or self._select not in form.values):
            form.values[self._select] = given.get("value", "")
        if tag in {"input", "textarea", "select", "button"} and name:
            self._select = name if tag == "select" else ""
            kind = given.get("type", "") if tag == "input" else tag
            if kind in {"radio", "checkbox", "button"} and name in form.values and "checked" not in given:
                return
            if tag != "select":
                form.values[name] = given.get("value", "")
            if kind in TYPED and name != "csrf_token":
                form.typed.add(name)


def forms_of(html: str) -> list[Form]:
    """Return the forms of a page."""
    reader = _Reader()
    reader.feed(html)
    return reader.forms
