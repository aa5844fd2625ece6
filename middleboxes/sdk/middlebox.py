"""The base class of middleboxes, and the context of one step."""

import ipaddress
from typing import NamedTuple

from ..core.sharing import NoLock, State
from .packet import Packet
from .packet6 import is_routable, link_local

#: IPv6 addresses of a port
ADDRESSES6_MAX = 8


class ConfigurationError(ValueError):
    """A parameter of a middlebox that can't be used; the message names it, what is wrong and what is allowed."""


class Port(NamedTuple):
    """A port of a middlebox: its name, its MAC address (6 bytes), its IPv4 address (int) and prefix length (bits).

    *addresses6*: its IPv6 addresses, (16 bytes, prefix length in bits) each; without one the port speaks no IPv6, with one it has a
    link-local address besides.
    """

    name: str
    mac: bytes
    address: int
    prefix_length: int
    addresses6: tuple = ()

    @property
    def link_local(self):
        """The port's link-local IPv6 address (16 bytes), made of its MAC address."""
        return link_local(self.mac)

    @classmethod
    def parse(cls, name, mac, address, addresses6=()):
        """From text: Port.parse("inside", "02:00:5e:00:01:01", "10.0.0.254/24", ["2001:db8::1/64"]). Raises ConfigurationError."""
        if not isinstance(addresses6, (list, tuple)):
            raise ConfigurationError(f"port {name}: its IPv6 addresses must be a list, not {addresses6!r}")
        try:
            interface = ipaddress.IPv4Interface(address)
            mac_bytes = bytes.fromhex(mac.replace(":", ""))
            interfaces6 = [ipaddress.IPv6Interface(str(each)) for each in addresses6]
        except ValueError as error:
            raise ConfigurationError(f"port {name}: {error}") from error
        if len(mac_bytes) != 6:
            raise ConfigurationError(f"port {name}: {mac!r} is not a MAC address")
        found6 = tuple((each.ip.packed, each.network.prefixlen) for each in interfaces6)
        if len(found6) > ADDRESSES6_MAX or len({each for each, _ in found6}) < len(found6):
            raise ConfigurationError(f"port {name}: at most {ADDRESSES6_MAX} IPv6 addresses are possible, none twice")
        for each, (packed, length) in zip(addresses6, found6):
            if not is_routable(packed) or "/" not in each or "%" in each or length < 8:
                raise ConfigurationError(f"port {name}: {each} is not a routable unicast IPv6 address with its prefix length")
        return cls(name, mac_bytes, int(interface.ip), interface.network.prefixlen, found6)


class Context:
    """What a step may use besides its packet and the state: all of it is logged, so replay sees the same.

    - ``port``      name of the port where the packet came in
    - ``now_ns``    the input's time (Unix, ns); it never goes back
    - ``emit(port, frame)``   send *frame* (bytes) out of the port of that name
    - ``random()``  an unsigned 64-bit pseudo-random number; its generator is part of the checkpoint
    - ``record(fn)``  the value of ``fn()``, for anything else that is not determined by packets and state
      (None, bool, int, float, str, bytes or tuples of these); replay gets the logged value, *fn* is not called
    - ``event(name, detail)``  a line in the operator's log; given once, replay does not repeat it
    """

    port = ""
    now_ns = 0

    def emit(self, port, frame):
        raise NotImplementedError

    def random(self):
        raise NotImplementedError

    def record(self, fn):
        raise NotImplementedError

    def event(self, name, detail):
        raise NotImplementedError


class Middlebox:
    """A network function. Subclasses declare ``ports`` and state variables and write ``process``.

    State lives in declared variables only (``flows = Map()`` in the class body): what is kept elsewhere would not
    survive a failover. ``process`` and ``tick`` use nothing but the packet, the state and ``ctx``: no clock, no
    ``random``, no order of sets, no ``hash()`` of text.

    A group may run several workers, each with an instance of its own, which runs its steps in order; the ticks go to each. A
    variable is shared by all of them unless it says otherwise: ``Map(scope="worker")`` is one per worker,
    ``Map(scope="flow")`` holds keys of flows that only this worker gets. A step has what it uses of the shared state for
    itself until it ends. Steps that use different ``domain``s of shared variables run beside each other; a step uses domains in
    the order of their names, and keeps nothing of them (no ``items()``, no iterator) for the next step.
    """

    #: names of the ports, in order; None: any two or more, as the configuration names them
    ports = ()

    #: which worker (from 0) gets a frame: a static method (frame, port name, number of workers) that depends on nothing
    #: else; None: both directions of a flow, by addresses, protocol and ports, go to one worker (middleboxes.core.partition)
    partition = None

    #: name of a variable that is bounded -> what makes room when it is full, in words
    victims = {}

    def __init__(self, parameters, ports, view=None):
        """*parameters*: the configuration's map; *ports*: a Port for each of ``ports``. Raises ConfigurationError.

        *view*: what this instance sees where it is one of several workers (see ``instances``).
        """
        names = tuple(port.name for port in ports)
        if self.ports is None:
            self.ports = names
            if len(names) < 2 or len(set(names)) < len(names):
                raise ConfigurationError(f"{type(self).__name__} needs two or more ports with different names")
        if names != tuple(self.ports):
            raise ConfigurationError(f"{type(self).__name__} has the ports {', '.join(self.ports)}, not {', '.join(names)}")
        self.port = {port.name: port for port in ports}
        view = view or State(type(self)).views[0]
        #: which worker this is, from 0, of how many
        self.worker_number, self.worker_count = view.number, view.state.workers
        self.whole_state = view.state
        for name, variable in view.attributes.items():
            setattr(self, name, variable)
        self.configure(parameters)

    @property
    def variables(self):
        """All variables of the group by the names that checkpoints use."""
        return self.whole_state.variables

    def configure(self, parameters):
        """Check and take *parameters*. The default accepts none. Raises ConfigurationError."""
        if parameters:
            raise ConfigurationError(f"{type(self).__name__} takes no parameters, got {', '.join(sorted(parameters))}")

    def process(self, packet, ctx):
        """Handle one *packet* (a Packet) that came in at ``ctx.port``."""
        raise NotImplementedError

    def further_addresses(self, port):
        """Addresses (ints, or 16 bytes of IPv6) besides the configured ones that neighbours at the port of that name ask for."""
        return ()

    def tick(self, ctx):
        """Called at the group's tick interval, ``ctx.now_ns`` being the time; for timeouts."""

    @classmethod
    def instances(cls, parameters, ports, workers, make_lock=NoLock):
        """One instance per worker over a common state; *make_lock* makes the locks, for workers with threads of their own.

        Raises ConfigurationError, StateError.
        """
        return [cls(parameters, ports, view) for view in State(cls, workers, make_lock).views]

    def handle(self, frame, ctx):
        """One input frame (bytes): what the runtime calls."""
        self.process(Packet(frame), ctx)
