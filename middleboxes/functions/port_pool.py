"""PortPool: external ports, drawn at random without repetition in constant time, however many are taken.

It is a Fisher-Yates shuffle that stops after each draw: of a virtual array of all ports, places below ``used`` are
taken, the others hold the free ports. Drawing takes the port of a random free place and moves the first free
place's port there; giving back puts the port in the place that becomes free. Only places whose port is not the one
they started with are kept, so an idle pool costs nothing. Random ports are what RFC 6056 asks for.
"""

from ..sdk.packet import endpoint


class PortPool:
    """Ports *first* to *last*, each *step*th, of any number of addresses and protocols; state lives in the two Maps given.

    *places*: {endpoint(protocol, address, place): port}, *used*: {endpoint(protocol, address, 0): number of ports taken}.
    """

    def __init__(self, places, used, first, last, step=1):
        self._places = places
        self._used = used
        self._first = first
        self._step = step
        self._size = max(0, (last - first) // step + 1)

    def draw(self, protocol, address, random_number):
        """Take a free port, chosen by *random_number* (64 bits); None if all are taken."""
        places, size = self._places, self._size
        pool = endpoint(protocol, address, 0)
        used = self._used.get(pool, 0)
        if used == size:
            return None
        place = used + random_number % (size - used)
        port = places.get(pool + place, self._first + place * self._step)
        head = places.pop(pool + used, self._first + used * self._step)
        if place != used:
            places[pool + place] = head
        self._used[pool] = used + 1
        return port

    def give_back(self, protocol, address, port):
        """Free *port*, which draw() gave."""
        pool = endpoint(protocol, address, 0)
        used = self._used[pool] - 1
        self._used[pool] = used
        self._places[pool + used] = port
