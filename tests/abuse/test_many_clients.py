"""More clients than the default limit of open files.

docs/spec/invariants.md#24-slow-and-idle-clients-at-the-proxy
"""

import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import text

from models.config.settings import Settings
from models.database import Sessions
from models.services.actor import PLATFORM
from models.services.tokens import revocation
from tests.abuse.statement_recorder import Recorder
from tests.abuse.test_faults import wait_until
from tests.addon.conftest import sell
from tests.addon.processes import Proxy, free_port, proxy_environment

USUAL, CLIENTS = 1024, 1100
_LISTENERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE application_name = 'zenzefi-listener' AND datname = current_database()"
)


@contextlib.contextmanager
def files(soft: int | None = None) -> Iterator[None]:
    """Raise the limit of open files of this process and its children."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= 2 * CLIENTS, "this system allows too few open files: raise the hard limit (ulimit -Hn)"
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft or hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


def test_24_many_idle_clients_neither_block_others_nor_disconnect_the_listener(
    committed: tuple[Settings, Sessions], environment: dict[str, str], tmp_path: Path
) -> None:
    settings, factory = committed
    upstream, port = Recorder(), free_port()
    # All clients come from one address here, and the default admits 1,000 of one.
    any_number = {"ZENZEFI_PROXY__CONNECTIONS_PER_ADDRESS": "0"}
    proxy = Proxy(port, proxy_environment(settings, environment["REDIS_URL"], upstream.address, port) | any_number)
    owned, log = sell(factory, settings, "buyer"), tmp_path / "log"
    try:
        with files(USUAL), log.open("wb") as output:
            proxy.start_worker(output)
        with files(), contextlib.ExitStack() as stack:
            for _ in range(CLIENTS):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            assert proxy.get("/", owned.secret).status == 200
            with factory() as session:
                assert session.scalars(text(_LISTENERS)).all() == [True]
            for _ in range(20):  # A new connection takes the low number that the listener had.
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
                time.sleep(0.02)
            wait_until(lambda: b"the invalidation listener is connected again" in log.read_bytes(), seconds=5)
            time.sleep(1)
            assert proxy.get("/", owned.secret).status == 200
            with factory.begin() as session:
                revocation.revoke(session, owned.user, owned.token.id, settings=settings, actor=PLATFORM)
            time.sleep(1)
            assert proxy.get("/", owned.secret).status == 401
        assert b"Traceback" not in log.read_bytes()
    finally:
        proxy.stop()
        upstream.close()
