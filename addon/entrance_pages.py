"""The pages of the browser's way in: one that asks, one that says that a link is over. Pure functions.

They stand on the proxy's own address, beside the upstream's pages, so nothing here loads anything: the one style sheet
is in the page and named by its hash.
"""

import base64
import hashlib
from html import escape
from string import Template

STYLE = (
    ":root{color-scheme:light dark;font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}"
    "body{margin:0;min-height:100vh;display:grid;place-items:center;background:light-dark(#f6f6f3,#101114);"
    "color:light-dark(#17181c,#eceef2)}"
    "main{box-sizing:border-box;width:100%;max-width:28rem;padding:32px 24px;line-height:1.5}"
    "h1{margin:0 0 12px;font-size:1.75rem;line-height:1.2}p{margin:0 0 16px}"
    "small{color:light-dark(#54575f,#a4a9b5);font-size:.8125rem}"
    "button,a{display:inline-block;min-height:44px;box-sizing:border-box;padding:10px 20px;border:0;border-radius:8px;"
    "background:light-dark(#2f45c5,#9eaeff);color:light-dark(#fff,#12163a);font:inherit;font-weight:600;"
    "text-decoration:none;cursor:pointer}"
    "button:focus-visible,a:focus-visible{outline:3px solid light-dark(#2335a0,#bcc7ff);outline-offset:2px}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = (
    ("Cache-Control", "no-store"),
    (
        "Content-Security-Policy",
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; frame-ancestors 'none';"
        " base-uri 'none'",
    ),
    # The address of the page holds a ticket, which is nobody else's business.
    ("Referrer-Policy", "no-referrer"),
    ("Vary", "Accept-Language"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("X-Robots-Tag", "noindex"),
)

_FRAME = Template(
    '<!doctype html><html lang="$lang"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1"><title>$title · Zenzefi</title>'
    "<style>$style</style></head><body><main><h1>$title</h1>$body</main></body></html>"
)
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
    "explain": "Пока не выйдет время, этот браузер будет ходить по токену",
    "clock": "Если токеном ещё не пользовались, время пойдёт с первой страницы.",  # noqa: RUF001 - a word of one letter
    "open": "Открыть",
    "over": "Ссылка больше не действует",
    "why": "Она срабатывает один раз и живёт полминуты. Портал тут же сделает новую: откройте там свой токен и снова"
    " нажмите «Открыть в браузере».",
    "portal": "Перейти на портал",
}
_LANGUAGES = {"en": _ENGLISH, "ru": _RUSSIAN}


def ask(ticket: str, prefix: str, accept_language: str) -> bytes:
    """Write the page whose button takes the ticket; looking at it uses nothing up."""
    language = chosen(accept_language)
    words = _LANGUAGES[language]
    body = (
        f"<p>{words['explain']} <b>{escape(prefix)}…</b></p><p>{words['clock']}</p>"
        f'<form method="post" action="/_zenzefi/enter"><input type="hidden" name="ticket" value="{escape(ticket)}">'
        f"<button>{words['open']}</button></form>"
    )
    return _page(language, words["ask"], body)


def over(portal_url: str, request_id: str, accept_language: str) -> bytes:
    """Write the page for a ticket that opens nothing, with the way to a new one."""
    language = chosen(accept_language)
    words = _LANGUAGES[language]
    body = (
        f'<p>{words["why"]}</p><p><a href="{escape(portal_url)}/tokens">{words["portal"]}</a></p>'
        f"<p><small>{escape(request_id)}</small></p>"
    )
    return _page(language, words["over"], body)


def chosen(accept_language: str) -> str:
    """Return the language of ours that the browser likes best; English when it names none of them."""
    best, liked = "en", 0.0
    for item in accept_language.split(","):
        tag, _, weight = item.strip().partition(";q=")
        language = tag.partition("-")[0].lower()
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            continue
        if language in _LANGUAGES and quality > liked:
            best, liked = language, quality
    return best


def _page(language: str, title: str, body: str) -> bytes:
    return _FRAME.substitute(lang=language, title=title, style=STYLE, body=body).encode()
