"""Error pages for browsers: what happened and what to do, in English and Russian. Pure functions."""
# ruff: noqa: RUF001 - Russian words may consist of letters that Latin has, too.

from html import escape
from typing import NamedTuple

from addon.http1.decisions import Refuse
from addon.http1.pages import frame

_PORTAL = {"en": "Go to the portal", "ru": "Перейти на портал"}
_TOKEN_PAGE = {"en": "Open the token's page", "ru": "Открыть страницу токена"}


class _Copy(NamedTuple):
    title: str
    advice: str


_UPSTREAM = {
    "en": _Copy(
        "The service is not responding",
        "Your token is fine. Reload the page in a moment; the time of longer outages is credited.",
    ),
    "ru": _Copy(
        "Сервис не отвечает",
        "С вашим токеном всё в порядке. Обновите страницу через минуту; время долгих сбоев возвращается.",
    ),
}
_UNAVAILABLE = {
    "en": _Copy("Service temporarily unavailable", "Reload the page in a minute."),
    "ru": _Copy("Сервис временно недоступен", "Обновите страницу через минуту."),
}
_COPY = {
    "token_missing": {
        "en": _Copy("Access token required", "Open your token in the portal and choose “Open in browser”."),
        "ru": _Copy("Нужен токен доступа", "Откройте свой токен на портале и нажмите «Открыть в браузере»."),
    },
    "token_invalid": {
        "en": _Copy(
            "Invalid access token",
            "Its secret may have been replaced. Open the token in the portal and choose “Open in browser” again.",
        ),
        "ru": _Copy(
            "Недействительный токен",
            "Возможно, его секрет заменили. Откройте токен на портале и снова нажмите «Открыть в браузере».",
        ),
    },
    "token_expired": {
        "en": _Copy("Token expired", "Buy a new token in the portal and open it in this browser."),
        "ru": _Copy("Токен истёк", "Купите новый токен на портале и откройте его в этом браузере."),
    },
    "token_revoked": {
        "en": _Copy("Token revoked", "Buy a new token in the portal, or open another one in this browser."),
        "ru": _Copy("Токен отозван", "Купите новый токен на портале или откройте в этом браузере другой."),
    },
    "account_disabled": {
        "en": _Copy("Account disabled", "Contact the owner of this service."),
        "ru": _Copy("Аккаунт отключён", "Обратитесь к владельцу сервиса."),
    },
    "token_paused": {
        "en": _Copy("Token paused", "Resume it on its page in the portal, then reload this page."),
        "ru": _Copy("Токен на паузе", "Нажмите «Возобновить» на его странице на портале и обновите эту страницу."),
    },
    "scope_denied": {
        "en": _Copy(
            "No access to this page",
            "“Test a request” on the token's page in the portal shows what the token grants access to.",
        ),
        "ru": _Copy(
            "Нет доступа к этой странице",
            "«Проверить запрос» на странице токена на портале покажет, к чему он даёт доступ.",
        ),
    },
    "rate_limited": {
        "en": _Copy("Too many requests", "Wait a moment, then reload the page."),
        "ru": _Copy("Слишком много запросов", "Подождите немного и обновите страницу."),
    },
    "too_many_failures": {
        "en": _Copy("Too many invalid tokens", "Wait a minute, then reload the page."),
        "ru": _Copy("Слишком много неверных токенов", "Подождите минуту и обновите страницу."),
    },
    "device_conflict": {
        "en": _Copy("Token in use on another device", "To use it here, choose “Release device” on the token's page."),
        "ru": _Copy(
            "Токен используется на другом устройстве",
            "Нажмите «Отвязать устройство» на странице токена или подождите: без запросов с того устройства токен"
            " освободится сам.",
        ),
    },
    "maintenance": {
        "en": _Copy("Under maintenance", "The time of active tokens is credited."),
        "ru": _Copy("Технические работы", "Время активных токенов возвращается."),
    },
    "not_found": {
        "en": _Copy("Page not found", "Check the address."),
        "ru": _Copy("Страница не найдена", "Проверьте адрес."),
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
    **dict.fromkeys(("unavailable", "overloaded", "upstream_busy"), _UNAVAILABLE),
}
_CLIENT_ERROR = {
    "en": _Copy("Request refused", "Go back and try again."),
    "ru": _Copy("Запрос отклонён", "Вернитесь назад и попробуйте ещё раз."),
}
_SERVER_ERROR = {
    "en": _Copy("Something went wrong", "Reload the page in a moment."),
    "ru": _Copy("Что-то пошло не так", "Обновите страницу через минуту."),
}


def render(refuse: Refuse, request_id: str, portal_url: str, accept_language: str) -> bytes:
    """Render the error page of a refusal, with the detail, code and request id of the JSON response.

    The detail is English only; other languages show it in small print, below their own text.
    """
    language = frame.choose_language(accept_language)
    copy = _COPY.get(refuse.code, _CLIENT_ERROR if refuse.status < 500 else _SERVER_ERROR)[language]
    detail, reference = escape(refuse.detail), f"{escape(refuse.code)} · {request_id}"
    if language == "en":
        first, small = detail, reference
    else:
        first, small = escape(refuse.note), f'<span lang="en">{detail}</span><br>{reference}'
    text = f"<p>{' '.join(filter(None, (first, escape(copy.advice))))}</p>"
    label = _TOKEN_PAGE if refuse.page else _PORTAL
    href = escape(portal_url + (refuse.page or "/tokens"))
    link = f'<p><a href="{href}">{label[language]}</a></p>' if portal_url else ""
    return frame.page(language, escape(copy.title), f"{text}{link}<p><small>{small}</small></p>")
