"""A fake upstream that records every byte it receives and responds by path."""

import socket
import threading
import time

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"
COOKIES = (b"device", b"lang", b"theme", b"seen", b"zenzefi", b"__Host-zenzefi", b"__Host-device", b"theirs")
PLANTED = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Accel-Redirect: /internal\r\nX-Sendfile: /etc/passwd\r\n%b\r\nok"
PLANTED %= b"".join(b"Set-Cookie: %b=planted; Path=/\r\n" % name for name in COOKIES)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


# What the worker's own prober asks with, at any time; no client of ours can send its name through.
PROBER = b"\r\nUser-Agent: zenzefi-prober\r\n"


class Recorder:
    """Listens on a free port until it is closed; `received` has the bytes of all connections."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.received = bytearray()
        self.requests = 0
        self._closing = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        buffer = b""
        with connection:
            while True:
                try:
                    data = connection.recv(65536)
                except OSError:
                    return
                if not data:
                    return
                if PROBER in data:
                    connection.sendall(ANSWER)
                    return
                self.received += data
                buffer += data
                while b"\r\n\r\n" in buffer:
                    head, _, buffer = buffer.partition(b"\r\n\r\n")
                    self.requests += 1
                    path = head.split(b" ")[1] if b" " in head else b""
                    if not self._answer(connection, path):
                        return

    def _answer(self, connection: socket.socket, path: bytes) -> bool:  # noqa: PLR0911 - a table of paths
        """Send one response; returns whether the connection is kept."""
        match path:
            case b"/hang":
                time.sleep(30)
                return False
            case b"/close":
                return False
            case b"/surplus":
                connection.sendall(ANSWER)
                time.sleep(0.02)
                connection.sendall(ANSWER.replace(b"ok", b"A!"))
                return True
            case b"/garbage":
                connection.sendall(b"\x00\xff this is no HTTP\r\n\r\n")
                return False
            case b"/short":
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
                return False
            case b"/planted":
                connection.sendall(PLANTED)
                return True
            case b"/ws":
                connection.sendall(SWITCH)
                return True
            case b"/flood":
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n")
                try:
                    while not self._closing:
                        connection.sendall(bytes(65536))
                except OSError:
                    pass
                return False
            case b"/endless":
                connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                try:
                    while not self._closing:
                        connection.sendall(b"5\r\nhello\r\n")
                        time.sleep(0.05)
                except OSError:
                    pass
                return False
        connection.sendall(ANSWER)
        return True

    def close(self) -> None:
        """Stop listening; open connections are left alone."""
        self._closing = True
        self._listener.close()
