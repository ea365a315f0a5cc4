"""Virtual addresses of the load balancer and the Services they belong to (pure)."""

from collections.abc import Iterator

from netpod.api.meta import Key
from netpod.errors import Exhausted
from netpod.ip import Address, Network


class VipPool:
    """Addresses of one network, each given to one Service at a time; never the first and the last."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._owner: dict[Address, Key] = {}
        self._address: dict[Key, Address] = {}

    def __iter__(self) -> Iterator[tuple[Key, Address]]:
        return iter(sorted(self._address.items(), key=lambda it: it[0]))

    def get(self, service: Key) -> Address | None:
        """The Service's address, if it has one."""
        return self._address.get(service)

    def adopt(self, service: Key, address: Address) -> bool:
        """Take over an address that the API already shows; False when it is another's or not of this pool."""
        if not self.holds(address) or self._owner.get(address, service) != service:
            return False
        self.release(service)
        self._owner[address] = service
        self._address[service] = address
        return True

    def allocate(self, service: Key, wanted: Address | None = None) -> Address:
        """Give the Service the address it wants, else the one it has, else the lowest free one.

        Raises:
            Exhausted: every address is taken, or the wanted one is.
        """
        if wanted is not None:
            if not self.adopt(service, wanted):
                owner = self._owner.get(wanted)
                cause = f"it belongs to {owner}" if owner else f"it is not in {self.network}"
                raise Exhausted(f"cannot allocate address {wanted}: {cause}")
            return wanted
        known = self._address.get(service)
        if known is not None:
            return known
        free = next((ip for ip in self.network.hosts() if self._free(ip)), None)
        if free is None:
            raise Exhausted(f"cannot allocate address for {service}: {self.network} is used up")
        self.adopt(service, free)
        return free

    def release(self, service: Key) -> Address | None:
        """Take the Service's address back and return it; nothing to do when it has none."""
        address = self._address.pop(service, None)
        if address is not None:
            del self._owner[address]
        return address

    def _free(self, address: Address) -> bool:
        return address not in self._owner and self.holds(address)

    def holds(self, address: Address) -> bool:
        """Whether the address is one of this pool's, free or not."""
        edges = (self.network.network_address, self.network.broadcast_address)
        return address in self.network and address not in edges
