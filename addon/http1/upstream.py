"""Where requests go: one upstream with one or more addresses, and which of them are worth a try."""

from dataclasses import dataclass, field

type Address = tuple[str, int]


@dataclass(slots=True)
class Upstream:
    """An upstream server; all its addresses serve the same thing.

    Health is passive: an address that could not be reached is tried last for `dead_seconds`.
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
        """List the addresses in the order to try: the healthy ones by turns, then the dead, oldest first."""
        if len(self.addresses) == 1:
            return list(self.addresses)
        self._rotation += 1
        turn = self._rotation % len(self.addresses)
        turned = self.addresses[turn:] + self.addresses[:turn]
        dead = [address for address in turned if self._dead_until.get(address, 0.0) > now]
        alive = [address for address in turned if address not in dead]
        return alive + sorted(dead, key=lambda address: self._dead_until[address])

    def mark_failed(self, address: Address, now: float) -> None:
        """Skip an address for a while."""
        self._dead_until[address] = now + self.dead_seconds

    def mark_reachable(self, address: Address) -> None:
        """Trust an address again."""
        if self._dead_until:
            self._dead_until.pop(address, None)
