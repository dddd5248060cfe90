"""The benchmark's upstream with TLS: its port, name, and a self-signed certificate for one run."""

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from addon.http1.upstream_pool.tls import upstream_context
from ops.container.placeholder_certificate import placeholder
from ops.processes.ports import LOOPBACK, free_port

HOST = "upstream.test"


@dataclass(frozen=True)
class TlsEndpoint:
    """Where the upstream listens with TLS, and the folder with its certificate and key."""

    port: int
    folder: Path

    @classmethod
    def create(cls, folder: Path) -> "TlsEndpoint":
        """Create a certificate in a new folder, and choose a port."""
        folder.mkdir(mode=0o700)
        # mitmdump and the client connect to the address, all others by the name.
        placeholder(folder, [HOST, LOOPBACK], owner=os.geteuid())
        return cls(free_port(), folder)

    @property
    def certificate(self) -> Path:
        return self.folder / "fullchain.pem"

    @property
    def key(self) -> Path:
        return self.folder / "privkey.pem"

    def client_context(self) -> ssl.SSLContext:
        """Return the TLS settings of a client that trusts the certificate alone."""
        return upstream_context(str(self.certificate))
