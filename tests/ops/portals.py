"""A portal on a separate port in this process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from werkzeug.serving import make_server

from models.config.settings import Settings
from portal import create_app


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """Serve until the end of the block; yields the origin."""
    server = make_server("127.0.0.1", 0, create_app(settings), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
