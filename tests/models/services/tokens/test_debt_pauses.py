"""While a debt is open, tokens bought with the money that was charged back stand still."""

from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken, TokenState
from models.config.settings import Settings
from models.config.shop import Debt
from models.services.actor import PLATFORM
from models.services.errors import PauseRefused, TokenUnusable
from models.services.gateway import sessions
from models.services.tokens import debt_pauses
from models.services.tokens import pause as token_pause
from models.users import User
from tests.conftest import Clock, make_user
from tests.factories import buy
from tests.models.services.payments.test_reversals import paid, said


def run(session: Session, settings: Settings) -> int:
    session.flush()
    return sum(debt_pauses.settle(session, token_id, settings) for token_id in debt_pauses.due(session, settings))


def use(session: Session, token: AccessToken, settings: Settings) -> None:
    sessions.begin(session, token.id, device=None, rules=settings.sessions, actor=PLATFORM)
    session.flush()


@pytest.fixture
def erin(session: Session) -> User:
    return make_user(session, "erin")


def test_tokens_bought_with_money_that_was_charged_back_stand_still_until_the_debt_is_repaid(
    *, session: Session, erin: User, settings: Settings, time: Clock
) -> None:
    paid(session, erin, settings, "1")
    before = buy(session, erin, settings, hours=1)
    payment = paid(session, erin, settings, "36")
    running, fresh = buy(session, erin, settings), buy(session, erin, settings)
    for token in (before, running):
        use(session, token, settings)
    time.advance(minutes=30)
    assert run(session, settings) == 0
    said(session, payment, "disputed", "360", refund_id="d-1")
    assert (run(session, settings), run(session, settings)) == (2, 0)
    states = [token.state(time()) for token in (before, running, fresh)]
    assert states == [TokenState.ACTIVE, TokenState.PAUSED, TokenState.PAUSED]
    with pytest.raises(TokenUnusable, match="paused"):
        use(session, fresh, settings)
    with pytest.raises(PauseRefused, match="debt"):
        token_pause.resume(session, erin, running.id, settings=settings, actor=PLATFORM)
    time.advance(days=60)
    paid(session, erin, settings, "36")
    assert (run(session, settings), run(session, settings)) == (2, 0)
    assert (running.state(time()), running.seconds_left(time())) == (TokenState.ACTIVE, 24 * 3600 - 1800)
    assert (fresh.state(time()), fresh.paused_seconds) == (TokenState.READY, 0)
    # None of it counts as a pause of the owner's.
    outlook = token_pause.preview(session, running, settings)
    assert (outlook.left, outlook.latest_end) == (4, time() + timedelta(days=30))


def test_the_owner_of_the_shop_may_let_them_run_on(
    *, session: Session, erin: User, settings: Settings, time: Clock
) -> None:
    payment = paid(session, erin, settings, "18")
    token = buy(session, erin, settings)
    said(session, payment, "disputed", "180", refund_id="d-1")
    lenient = settings.model_copy(update={"debt": Debt(pause_tokens=False)})
    assert (run(session, lenient), run(session, settings), run(session, lenient)) == (0, 1, 1)
    assert token.state(time()) is TokenState.READY
