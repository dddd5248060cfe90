"""Pages of browser access: the confirmation page and the page for an expired link."""

from html import escape

from addon.http1.pages import frame

# The page is in the browser's language.
HEADERS = (*frame.HEADERS, ("Vary", "Accept-Language"))

_ENGLISH = {
    "ask": "Open in this browser?",
    "explain": "Until its time is over, this browser will be let in with the access token",
    "clock": "If the token has not been used yet, its time starts with the first page.",
    "open": "Open",
    "over": "This link has expired",
    "why": "It works once and for half a minute only. The portal makes a new one at once: open your token there and"
    " choose “Open in browser” again.",
    "portal": "To the portal",
}
_RUSSIAN = {
    "ask": "Открыть в этом браузере?",
    "explain": "Пока не выйдет время, сервис будет открываться в этом браузере по токену",
    "clock": "Если токеном ещё не пользовались, время пойдёт с первой страницы.",  # noqa: RUF001 - a word of one letter
    "open": "Открыть",
    "over": "Ссылка больше не действует",
    "why": "Она срабатывает один раз и живёт полминуты. Портал тут же сделает новую: откройте там свой токен и снова"
    " нажмите «Открыть в браузере».",
    "portal": "Перейти на портал",
}
_LANGUAGES = {"en": _ENGLISH, "ru": _RUSSIAN}


def confirmation_page(ticket: str, prefix: str, accept_language: str) -> bytes:
    """Write the page whose button takes the ticket; looking at it uses nothing up."""
    language = frame.choose_language(accept_language)
    words = _LANGUAGES[language]
    body = (
        f"<p>{words['explain']} <b>{escape(prefix)}…</b></p><p>{words['clock']}</p>"
        f'<form method="post" action="/_zenzefi/enter"><input type="hidden" name="ticket" value="{escape(ticket)}">'
        f"<button>{words['open']}</button></form>"
    )
    return frame.page(language, words["ask"], body)


def expired_page(portal_url: str, request_id: str, accept_language: str) -> bytes:
    """Write the page for a ticket that opens nothing, with the way to a new one."""
    language = frame.choose_language(accept_language)
    words = _LANGUAGES[language]
    body = (
        f'<p>{words["why"]}</p><p><a href="{escape(portal_url)}/tokens">{words["portal"]}</a></p>'
        f"<p><small>{escape(request_id)}</small></p>"
    )
    return frame.page(language, words["over"], body)
