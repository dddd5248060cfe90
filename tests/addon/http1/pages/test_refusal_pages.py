"""Error pages for browsers: what happened and what to do, in the browser's language."""

import re

import pytest

from addon.http1.decisions import Refuse
from addon.http1.pages.refusal_pages import render
from portal.presentation.refusal_reasons import REASONS
from tests.addon.http1.playbook import GET, Playbook

CODES = sorted({*REASONS, "token_missing", "maintenance", "not_found", "cross_site", "internal"})
RUSSIAN = "ru-RU,ru;q=0.9,en;q=0.8"


@pytest.mark.parametrize("code", CODES)
def test_every_error_page_says_in_each_language_what_happened_and_what_to_do(code: str) -> None:
    refuse = Refuse(403, code, "What <programs> read.")
    english = render(refuse, "id-1", "https://portal.example", "de, en;q=0.5").decode()
    assert '<html lang="en">' in english
    assert re.search(r"<h1>[A-Z][^<]+</h1><p>What &lt;programs&gt; read\. [A-Z“][^<]+</p>", english)
    russian = render(refuse, "id-1", "https://portal.example", RUSSIAN).decode()
    assert '<html lang="ru">' in russian
    title, advice = re.findall(r"<h1>(.+)</h1><p>([^<]+)</p>", russian)[0]
    assert not re.search("[a-z]", title + advice)
    assert '<span lang="en">What &lt;programs&gt; read.</span>' in russian
    for shown in (english, russian):
        assert f"{code} · id-1</small>" in shown
        assert '<a href="https://portal.example/tokens">' in shown


def test_a_refusal_with_a_page_of_its_own_links_to_it() -> None:
    refuse = Refuse(409, "device_conflict", "Another device.", page="/tokens/1#device")
    shown = render(refuse, "id-1", "https://portal.example", RUSSIAN).decode()
    assert '<a href="https://portal.example/tokens/1#device">Открыть страницу токена</a>' in shown


def test_the_operators_note_comes_first_and_is_escaped() -> None:
    refuse = Refuse(503, "maintenance", "Closed. Back at noon.", note="Вернёмся в <полдень>.")
    assert "<p>Вернёмся в &lt;полдень&gt;. Время" in render(refuse, "id-1", "", RUSSIAN).decode()


def test_the_browsers_language_is_read_from_its_request() -> None:
    play = Playbook()
    play.policy.decide = lambda _: Refuse(401, "token_expired", "The access token has expired.")
    play.send(GET.replace(b"\r\n\r\n", b"\r\nAccept: text/html\r\nAccept-Language: ru\r\n\r\n"))
    head, _, body = play.received.decode().partition("\r\n\r\n")
    assert "Vary: Accept, Accept-Language" in head
    assert "<h1>Токен истёк</h1>" in body
