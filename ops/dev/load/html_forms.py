"""Forms and links of HTML pages, read as a browser without JavaScript does."""

from __future__ import annotations

from html.parser import HTMLParser


class Form:
    """A form: its action and the default values of its fields."""

    def __init__(self, action: str) -> None:
        self.action = action
        self.fields: dict[str, str] = {}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(given.get("action", "")))
        name = given.get("name", "")
        if tag == "select":
            self._select = name
        if not self.forms:
            return
        fields = self.forms[-1].fields
        if tag == "option" and self._select and ("selected" in given or self._select not in fields):
            fields[self._select] = given.get("value", "")
        if tag == "input" and name:
            is_choice = given.get("type") in {"radio", "checkbox"}
            if not is_choice or "checked" in given:
                fields[name] = given.get("value", "on" if is_choice else "")


def form_of(page: str, action: str) -> Form:
    """Return the first form whose action ends with `action`. Raises LookupError when there is none."""
    reader = _Reader()
    reader.feed(page)
    for form in reader.forms:
        if form.action.endswith(action):
            return form
    raise LookupError(f"the page has no form that leads to …{action}")


def links_of(page: str, start: str) -> list[str]:
    """Return the distinct links of a page that begin with `start`, in order."""
    parts = page.split(f'href="{start}')[1:]
    return list(dict.fromkeys(start + part.partition('"')[0] for part in parts))
