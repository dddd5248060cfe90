"""The upstream server: its addresses, round robin, and passive health checks."""

from dataclasses import dataclass, field

type Address = tuple[str, int]


@dataclass(slots=True)
class Upstream:
    """An upstream server with one or more equivalent addresses.

    An address that could not be reached is tried last for `dead_seconds`.
    """

    addresses: tuple[Address, ...]
    host_header: bytes
    tls: bool = False
    # The name that the certificate must carry; needed with TLS.
    sni: str | None = None
    dead_seconds: float = 10.0
    _dead_until: dict[Address, float] = field(default_factory=dict)
    _rotation: int = 0

    def candidates(self, now: float) -> list[Address]:
        """Return the addresses in the order to try: healthy ones round robin, then dead ones, longest dead first."""
        if len(self.addresses) == 1:
            return list(self.addresses)
        self._rotation += 1
        turn = self._rotation % len(self.addresses)
        turned = self.addresses[turn:] + self.addresses[:turn]
        dead = [address for address in turned if self._dead_until.get(address, 0.0) > now]
        alive = [address for address in turned if address not in dead]
        return alive + sorted(dead, key=lambda address: self._dead_until[address])

    def mark_failed(self, address: Address, now: float) -> None:
        """Try this address last for `dead_seconds`."""
        self._dead_until[address] = now + self.dead_seconds

    def mark_reachable(self, address: Address) -> None:
        """Take this address as healthy again."""
        if self._dead_until:
            self._dead_until.pop(address, None)
