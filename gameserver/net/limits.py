"""How much is let in: rates per connection, numbers of connections, new connections a second.

Rates are GCRA in whole nanoseconds: a bucket is one number, the time at which it would be full
again. Nothing here reads a clock or touches a socket.
"""

import ipaddress
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

SECOND_NS = 1_000_000_000
# Those who come together after an outage have often come from one address, or come again.
ADDRESSES_KEPT = 1024


class Rate:
    """How fast things may come: ``burst`` at once and ``per_second`` in the long run."""

    __slots__ = ("interval_ns", "tolerance_ns")

    def __init__(self, per_second: int, burst: int) -> None:
        assert per_second > 0, "a rate is positive"
        assert burst > 0, "a burst is positive"
        self.interval_ns = SECOND_NS // per_second
        self.tolerance_ns = self.interval_ns * (burst - 1)


class Bucket:
    """Lets things through at a rate, which many buckets share."""

    __slots__ = ("_full_at_ns", "_rate", "_turn_at_ns")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._full_at_ns = 0
        self._turn_at_ns = 0

    def take(self, now_ns: int) -> int:
        """Let one through and return 0, or return the nanoseconds until one would pass."""
        rate, full_at_ns = self._rate, self._full_at_ns
        if full_at_ns < now_ns:
            full_at_ns = now_ns
        wait_ns = full_at_ns - rate.tolerance_ns - now_ns
        if wait_ns > 0:
            return wait_ns
        self._full_at_ns = full_at_ns + rate.interval_ns
        return 0

    def turn(self, now_ns: int) -> int:
        """Return the nanoseconds after which one that was turned away may come again.

        Each gets a moment of its own. If all were told the first at which one would pass, all but
        one would be turned away again at that moment, and again, ever faster.
        """
        first_ns = max(self._full_at_ns - self._rate.tolerance_ns, now_ns)
        self._turn_at_ns = max(self._turn_at_ns + self._rate.interval_ns, first_ns)
        return self._turn_at_ns - now_ns


class Refusal(Enum):
    """Why a new connection is turned away; the value goes into logs, metrics and the answer."""

    CONNECTIONS = "too_many_connections"
    ADDRESS = "too_many_from_address"
    UNAUTHENTICATED = "too_many_unauthenticated"
    HANDSHAKES = "too_many_handshakes"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """Bounds on connections."""

    connections_max: int
    per_address_max: int
    unauthenticated_max: int
    handshakes_per_second: int


class Admission:
    """Counts the connections of the process and says who may come in."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self._limits = limits
        self._by_address: dict[str, int] = {}
        # A burst of two seconds' worth, because clients come back together after an outage.
        handshakes = Rate(limits.handshakes_per_second, 2 * limits.handshakes_per_second)
        self._handshakes = Bucket(handshakes)
        self.connections = 0
        self.unauthenticated = 0
        self.is_draining = False
        # Addresses of other nodes, which pass on players of theirs.
        self.nodes: frozenset[str] = frozenset()

    @property
    def connections_max(self) -> int:
        """How many connections there may be."""
        return self._limits.connections_max

    def admit(self, address: str, now_ns: int) -> Refusal | None:
        """Count a new connection from ``address`` (as by `address_group`), or say why not."""
        limits = self._limits
        if self.is_draining:
            return Refusal.DRAINING
        if self.connections >= limits.connections_max:
            return Refusal.CONNECTIONS
        is_node = address in self.nodes
        if self._by_address.get(address, 0) >= limits.per_address_max and not is_node:
            return Refusal.ADDRESS
        if self.unauthenticated >= limits.unauthenticated_max:
            return Refusal.UNAUTHENTICATED
        if not is_node and self._handshakes.take(now_ns):
            return Refusal.HANDSHAKES

        self.connections += 1
        self.unauthenticated += 1
        self._by_address[address] = self._by_address.get(address, 0) + 1
        return None

    def authenticate(self) -> None:
        """Count one connection as somebody's from now on."""
        self.unauthenticated -= 1

    def release(self, address: str, *, is_authenticated: bool) -> None:
        """Forget a connection that was admitted."""
        self.connections -= 1
        if not is_authenticated:
            self.unauthenticated -= 1
        left = self._by_address[address] - 1
        if left:
            self._by_address[address] = left
        else:
            del self._by_address[address]


@lru_cache(ADDRESSES_KEPT)
def address_group(host: str) -> str:
    """Return what counts as one address: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host  # A socket without addresses, such as a Unix socket.
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address)
