"""Routes: prefixes and where they lead, the longest first. It is configuration, not state: the same in every instance of a function."""

from libc.stdint cimport uint32_t

#: the first multicast address; what is above is multicast, reserved or broadcast
MULTICAST = 0xE0000000
cdef uint32_t _MULTICAST = MULTICAST


cdef class Routes:
    """(port name, next hop) by destination; next hop None where the destination itself is on the link.

    *unroutable*: a dict whose keys are addresses that no packet is forwarded to, to be filled by its owner.
    """

    cdef list _tables       # (mask, {network: (port name, next hop or None)}), the longest prefix first
    cdef dict _unroutable

    def __init__(self, unroutable=None):
        self._tables = []
        self._unroutable = {} if unroutable is None else unroutable

    def add(self, network, mask, port, next_hop=None):
        """Add a route; False if there is one for just this prefix already."""
        for known, table in self._tables:
            if known == mask:
                break
        else:
            table = {}
            self._tables.append((mask, table))
            self._tables.sort(key=lambda entry: -entry[0])
        return table.setdefault(network, (port, next_hop)) == (port, next_hop)

    cpdef find(self, destination):
        """(port name, next hop) for *destination* (an address), or None."""
        cdef tuple entry, hop
        for entry in self._tables:
            hop = (<dict> entry[1]).get(destination & entry[0])
            if hop is not None:
                return hop if hop[1] is not None else (hop[0], destination)
        return None

    cpdef bint is_host(self, uint32_t address) except -1:
        """Whether *address* (IPv4) may be that of another host: not ours, multicast, loopback, "this network", broadcast."""
        return address < _MULTICAST and address >> 24 != 0 and address >> 24 != 127 and address not in self._unroutable

    def way(self, destination):
        """``find`` for a *destination* (IPv4) that may be another host's, else None."""
        return self.find(destination) if self.is_host(destination) else None
