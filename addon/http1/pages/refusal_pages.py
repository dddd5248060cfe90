"""What a browser shows of a refusal: what happened and the way on, in its language. Pure functions."""
# ruff: noqa: RUF001 - Russian words may consist of letters that Latin has, too.

from html import escape
from typing import NamedTuple

from addon.http1.decisions import Refuse
from addon.http1.pages import frame

_PORTAL = {"en": "To the portal", "ru": "Перейти на портал"}
_TOKEN_PAGE = {"en": "Open the token's page", "ru": "Открыть страницу токена"}


class _Words(NamedTuple):
    title: str
    advice: str


_UPSTREAM = {
    "en": _Words(
        "The service does not answer",
        "Nothing is wrong with your token. Reload this page in a moment; longer outages are credited.",
    ),
    "ru": _Words(
        "Сервис не отвечает",
        "Ваш токен в порядке. Обновите страницу чуть позже; за долгие сбои время возвращается.",
    ),
}
_BUSY = {
    "en": _Words("We are not quite there", "It usually takes a minute; reload this page then."),
    "ru": _Words("Мы ненадолго недоступны", "Обычно это занимает минуту; потом обновите страницу."),
}
_WORDS = {
    "token_missing": {
        "en": _Words("A token opens this page", "Open yours in the portal, and choose “Open in browser” there."),
        "ru": _Words(
            "Эта страница открывается по токену", "Откройте свой токен на портале и нажмите «Открыть в браузере»."
        ),
    },
    "token_invalid": {
        "en": _Words(
            "This token does not open it",
            "Its secret may have been replaced. Open it in the portal, and choose “Open in browser” again.",
        ),
        "ru": _Words(
            "Токен не подошёл",
            "Возможно, его секрет заменили. Откройте токен на портале и снова нажмите «Открыть в браузере».",
        ),
    },
    "token_expired": {
        "en": _Words("The token's time is over", "Buy a new one in the portal, and open it in this browser."),
        "ru": _Words("Время токена закончилось", "Купите новый на портале и откройте его в этом браузере."),
    },
    "token_revoked": {
        "en": _Words("This token was revoked", "Buy a new one in the portal, or open another in this browser."),
        "ru": _Words("Токен отозван", "Купите новый на портале или откройте в этом браузере другой."),
    },
    "account_disabled": {
        "en": _Words("This account is disabled", "Write to whoever runs this shop."),
        "ru": _Words("Аккаунт отключён", "Напишите владельцу магазина."),
    },
    "token_paused": {
        "en": _Words("The token is paused", "Its page in the portal shows how to resume it; then reload this page."),
        "ru": _Words("Токен на паузе", "На его странице на портале видно, как его возобновить; потом обновите эту."),
    },
    "scope_denied": {
        "en": _Words(
            "This token does not open this page",
            "“Try a request” on its page in the portal shows what it opens; another address may need another token.",
        ),
        "ru": _Words(
            "Этот токен не открывает эту страницу",
            "«Проверить запрос» на его странице на портале покажет, что он открывает; для другого адреса может"
            " понадобиться другой токен.",
        ),
    },
    "rate_limited": {
        "en": _Words("Too many requests", "Wait a moment, then reload this page."),
        "ru": _Words("Слишком много запросов", "Подождите немного и обновите страницу."),
    },
    "too_many_failures": {
        "en": _Words("Too many wrong tokens", "Wait a minute, then reload this page."),
        "ru": _Words("Слишком много неверных токенов", "Они пришли с вашего адреса. Подождите минуту."),
    },
    "device_conflict": {
        "en": _Words(
            "Another device has this token",
            "The button on that page is “Release device”.",
        ),
        "ru": _Words(
            "Токен занят другим устройством",
            "Нажмите «Отвязать устройство» на странице токена или подождите: устройство без запросов отпустит токен"
            " само.",
        ),
    },
    "maintenance": {
        "en": _Words("Closed for maintenance", "Running time is given back."),
        "ru": _Words("Закрыто на обслуживание", "Идущее время вернётся."),
    },
    "not_found": {
        "en": _Words("There is nothing here", "The address may be mistyped."),
        "ru": _Words("Здесь ничего нет", "Возможно, в адресе опечатка."),
    },
    **dict.fromkeys(
        (
            "upstream_unreachable",
            "upstream_timeout",
            "upstream_closed",
            "upstream_invalid",
            "upstream_head_too_large",
        ),
        _UPSTREAM,
    ),
    **dict.fromkeys(("unavailable", "overloaded"), _BUSY),
}
_THEIRS = {
    "en": _Words("This request was refused", "Go back and try again."),
    "ru": _Words("Запрос отклонён", "Вернитесь назад и попробуйте ещё раз."),
}
_OURS = {
    "en": _Words("Something went wrong", "Reload this page in a moment."),
    "ru": _Words("У нас что-то сломалось", "Обновите страницу чуть позже."),
}


def render(refuse: Refuse, request_id: str, portal_url: str, accept_language: str) -> bytes:
    """Write the page of a refusal, with the facts that the JSON has: its sentence, its code and the request's id.

    The sentence is for programs and English; other languages have it in small print, below what they say themselves.
    """
    language = frame.choose_language(accept_language)
    words = _WORDS.get(refuse.code, _THEIRS if refuse.status < 500 else _OURS)[language]
    detail, facts = escape(refuse.detail), f"{escape(refuse.code)} · {request_id}"
    if language == "en":
        first, small = detail, facts
    else:
        first, small = escape(refuse.note), f'<span lang="en">{detail}</span><br>{facts}'
    said = f"<p>{' '.join(filter(None, (first, escape(words.advice))))}</p>"
    way = _TOKEN_PAGE if refuse.page else _PORTAL
    href = escape(portal_url + (refuse.page or "/tokens"))
    link = f'<p><a href="{href}">{way[language]}</a></p>' if portal_url else ""
    return frame.page(language, escape(words.title), f"{said}{link}<p><small>{small}</small></p>")
