"""A TCP relay that can stop forwarding while its connections stay open."""

import contextlib
import select
import socket
import threading

from sqlalchemy.engine import make_url


class Relay:
    """Listens on a free port in front of PostgreSQL; `hold` stops every byte, like a frozen machine or firewall."""

    def __init__(self, url: str) -> None:
        target = make_url(url)
        folder, port = target.query.get("host", ""), target.port or int(str(target.query.get("port", "5432")))
        self._target = f"{folder}/.s.PGSQL.{port}" if folder else (target.host or "127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        mine = target.set(host="127.0.0.1", port=self._listener.getsockname()[1], query={})
        self.url = mine.render_as_string(hide_password=False)
        self._open = threading.Event()
        self._open.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        self._open.clear()

    def go_on(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._open.set()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX if isinstance(self._target, str) else socket.AF_INET)
        with client, server, contextlib.suppress(OSError):
            server.connect(self._target)
            while True:
                readable, _, _ = select.select([client, server], [], [])
                for source in readable:
                    data = source.recv(65536)
                    self._open.wait()
                    if not data:
                        return
                    (server if source is client else client).sendall(data)
