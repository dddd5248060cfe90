"""HTML pages of browser login: the confirmation page and the page for an expired link."""

from html import escape

from addon.http1.pages import frame

# The page is in the browser's language.
HEADERS = (*frame.HEADERS, ("Vary", "Accept-Language"))

_ENGLISH = {
    "confirm": "Open in this browser?",
    "access": "This browser will have access until the token's time ends. Token:",
    "activation": "A token that has not been used yet is activated by the first page.",
    "open": "Open",
    "expired": "This link has expired",
    "new_link": "A link works once, for half a minute. To get a new one, open your token in the portal and choose"
    " “Open in browser”.",
    "portal": "Go to the portal",
}
_RUSSIAN = {
    "confirm": "Открыть в этом браузере?",
    "access": "Этот браузер получит доступ, пока не закончится время токена. Токен:",
    "activation": "Если токен ещё не использовался, он активируется при открытии первой страницы.",
    "open": "Открыть",
    "expired": "Ссылка больше не действует",
    "new_link": "Ссылка работает один раз и только полминуты. Чтобы получить новую, откройте свой токен на портале и"
    " нажмите «Открыть в браузере».",
    "portal": "Перейти на портал",
}
_LANGUAGES = {"en": _ENGLISH, "ru": _RUSSIAN}


def confirmation_page(ticket: str, prefix: str, accept_language: str) -> bytes:
    """Render the page whose form redeems the ticket; `prefix` is the token's."""
    language = frame.choose_language(accept_language)
    copy = _LANGUAGES[language]
    body = (
        f"<p>{copy['access']} <b>{escape(prefix)}…</b></p><p>{copy['activation']}</p>"
        f'<form method="post" action="/_zenzefi/enter"><input type="hidden" name="ticket" value="{escape(ticket)}">'
        f"<button>{copy['open']}</button></form>"
    )
    return frame.page(language, copy["confirm"], body)


def expired_page(portal_url: str, request_id: str, accept_language: str) -> bytes:
    """Render the page for an invalid or expired ticket, with a link to the portal for a new one."""
    language = frame.choose_language(accept_language)
    copy = _LANGUAGES[language]
    body = (
        f'<p>{copy["new_link"]}</p><p><a href="{escape(portal_url)}/tokens">{copy["portal"]}</a></p>'
        f"<p><small>{escape(request_id)}</small></p>"
    )
    return frame.page(language, copy["expired"], body)
