"""Two portals and two proxies behind the deployed nginx: one of each is restarted and one killed under load.

`./zenzefi test --soak` gives the machines networks of their own, more clients, and three rolls and three deaths.
"""

import os
from pathlib import Path

import pytest

from models.config.settings import Settings
from models.database import Sessions
from ops.dev.rolling_deploy import networks
from ops.dev.rolling_deploy.processes import NAMES
from ops.dev.rolling_deploy.run import SHORT, Sizes, run
from tests.addon.processes import proxy_environment


@pytest.mark.skipif(not os.environ.get("ZENZEFI_SOAK"), reason="starts six machines; --soak and ./zenzefi fleet run it")
def test_a_rolling_deploy_loses_nothing_and_a_kill_loses_only_requests_in_flight(
    committed: tuple[Settings, Sessions], environment: dict[str, str], tmp_path: Path
) -> None:
    long = bool(os.environ.get("ZENZEFI_SOAK")) and os.geteuid() == 0
    put, sizes = (networks.in_namespaces, Sizes()) if long else (networks.on_loopback, SHORT)
    settings, _ = committed
    variables = proxy_environment(settings, environment["REDIS_URL"], "http://127.0.0.1:1", 1) | {
        "ZENZEFI_LIMITS__PROXY_PER_MINUTE": "1000000",
    }
    with put(NAMES) as found:
        seen = run(tmp_path, variables, found, sizes)
    rolled, killed = seen["rolled"], seen["killed"]
    assert rolled["bad"] == []
    assert rolled["proxy_counted"] == rolled["proxy_answered"] > 100
    assert rolled["purchases_booked"] == rolled["purchases_answered"] > 5
    # nginx asks another machine where that can do no harm, and tells the client where it might.
    assert {each["kind"] for each in killed["bad"]} <= {"proxy POST", "portal POST"}
    assert {each["outcome"] for each in killed["bad"]} <= {"502"}
    assert len(killed["bad"]) <= sizes.kills * (sizes.proxy_clients + sizes.buyers)
    # A purchase that was under way was booked or not; one that was answered was.
    under_way = [each for each in killed["bad"] if each["kind"] == "portal POST"]
    assert 0 <= killed["purchases_booked"] - killed["purchases_answered"] <= len(under_way)
    # A killed worker loses at most what it had counted since its last second; one that is asked twice may count twice.
    a_second = killed["proxy_answered"] / killed["seconds"]
    assert abs(killed["proxy_answered"] - killed["proxy_counted"]) <= sizes.kills * 2 * a_second + len(killed["bad"])
    assert killed["figures"]["proxy GET"]["longest_pause_ms"] < 5000
