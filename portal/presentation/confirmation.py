"""The page that asks before something is destroyed or replaced; it works without JavaScript."""

from collections.abc import Mapping, Sequence

from flask import render_template


def ask(
    title: str,
    texts: Sequence[str],
    *,
    action: str,
    button: str,
    back: str,
    about: str = "",
    hidden: Mapping[str, object] | None = None,
    is_dangerous: bool = True,
) -> str:
    """Render a question whose button posts to `action`, and whose way out leads to `back`.

    `about` names what is meant; `hidden` are further fields of the form, such as the generation that was seen.
    """
    return render_template(
        "pages/confirm.html",
        title=title,
        texts=texts,
        action=action,
        button=button,
        back=back,
        about=about,
        hidden=hidden or {},
        is_dangerous=is_dangerous,
    )
