"""Pages as a browser without JavaScript reads them: the form that is wanted, with everything that is filled in."""

from __future__ import annotations

from html.parser import HTMLParser


class Form:
    """One form: where it leads, and what is sent when nobody changes anything."""

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
    """Return the first form whose action ends so. Raises LookupError when the page has none."""
    reader = _Reader()
    reader.feed(page)
    for form in reader.forms:
        if form.action.endswith(action):
            return form
    raise LookupError(f"the page has no form that leads to …{action}")


def links_of(page: str, start: str) -> list[str]:
    """Return where the page leads, of the addresses that begin so, in its order and each once."""
    parts = page.split(f'href="{start}')[1:]
    return list(dict.fromkeys(start + part.partition('"')[0] for part in parts))
