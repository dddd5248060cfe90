"""HTML frame of the gateway's own pages: inline style sheet, headers and choice of language.

The pages share the proxy's origin with the upstream's, so they load nothing: the Content-Security-Policy allows only
the inline style sheet, by its hash.
"""

import base64
import hashlib
from string import Template

LANGUAGES = ("en", "ru")
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
    # The URL of a page may contain a one-time ticket, which must not be sent to other sites.
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("X-Robots-Tag", "noindex"),
)

_FRAME = Template(
    '<!doctype html><html lang="$lang"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1"><title>$title · Zenzefi</title>'
    "<style>$style</style></head><body><main><h1>$title</h1>$body</main></body></html>"
)


def page(language: str, title: str, body: str) -> bytes:
    """Render a page; `title` and `body` are HTML."""
    return _FRAME.substitute(lang=language, title=title, style=STYLE, body=body).encode()


def choose_language(accept_language: str) -> str:
    """Return the supported language that an Accept-Language header prefers; English when it names none."""
    best, best_quality = "en", 0.0
    for item in accept_language.split(","):
        tag, _, weight = item.strip().partition(";q=")
        language = tag.partition("-")[0].lower()
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            continue
        if language in LANGUAGES and quality > best_quality:
            best, best_quality = language, quality
    return best
