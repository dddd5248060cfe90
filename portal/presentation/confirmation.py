"""Confirmation page before something is deleted or replaced; works without JavaScript."""

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
    """Render a confirmation whose button posts to `action` and whose cancel link leads to `back`.

    `about` names the object; `hidden` are further fields of the form, such as the version that was shown.
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
