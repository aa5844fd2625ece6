"""What all roles of a group have in common."""

from ..core.checkpoint import CheckpointError
from ..core.determinants import DeterminantError
from ..core.frames import FrameError
from ..core.state import StateError
from ..core.step import ReplayError
from ..sdk import ConfigurationError
from .link import LinkError, port_link


class ServiceError(Exception):
    """A service message that can't be served; the peer is told, the role goes on."""


class RoleError(Exception):
    """A role that can't be taken or can't go on; the message goes to the controller."""


def check_positions(value, workers, error=ServiceError):
    """Raise *error* unless *value*, from a message, is a list of one number for each worker."""
    if len(value) != workers or any(type(number) is not int or number < 0 for number in value):
        raise error(f"positions must be {workers} numbers, not {value!r:.100}")


def open_ports(node, group, ports, receive=True):
    """A Link for each of *ports* (maps with a name) at this node, or none at all. Raises RoleError, LinkError."""
    interfaces = node.port_interfaces(group)
    missing = [port["name"] for port in ports if port["name"] not in interfaces]
    if missing:
        raise RoleError(f"node {node.name} has no interface for port {missing[0]!r} of group {group!r}")
    links = []
    try:
        for port in ports:
            links.append(port_link(interfaces[port["name"]], receive))
    except LinkError:
        for link in links:
            link.close()
        raise
    return links


#: what a role may raise: it fails, the node lives
ROLE_FAILURES = (RoleError, LinkError, ReplayError, CheckpointError, StateError, ConfigurationError, DeterminantError, FrameError)


class Role:
    """One role of one group at this node. Subclasses name themselves in ``role`` and override what they handle."""

    role = "?"
    #: whether input frames of the group are for this role now (before, the node keeps them)
    taking = True
    #: whether it may be given more inputs (backpressure)
    ready = True
    #: takes a batch of OUTPUT frames of this group; None: they are not for this role
    outputs = None
    #: what Loop.turns is of threads of its own
    turns = 0

    def __init__(self, node, group, epoch, group_id):
        self.node, self.loop = node, node.loop
        self.group, self.epoch, self.group_id = group, epoch, group_id

        self.closed = False
        self._guards = {}

    def guarded(self, function):
        """*function*, a method of this role, as a callback: nothing after ``close``, and its failures fail the role."""
        guard = self._guards.get(function)
        if guard is None:
            def guard(*args):
                if self.closed:
                    return None
                try:
                    return function(*args)
                except ROLE_FAILURES as error:
                    self.node.fail(self, error)
                    return None
            self._guards[function] = guard
        return guard

    def after(self, delay_ns, function):
        """Call a method of this role in *delay_ns*; returns a timer for ``loop.cancel``."""
        return self.loop.after(delay_ns, self.guarded(function))

    def work(self, function):
        """Call a method of this role in slices between packets for as long as it returns true."""
        self.loop.work(self.guarded(function))

    def event(self, name, **detail):
        """Tell the controller."""
        self.node.agent.event(name, self.group, self.epoch, detail)

    def status(self):
        """What a beat says of this role."""
        return {"group": self.group, "role": self.role, "epoch": self.epoch,
                "counters": {**self.counters(), **self.node.fault_counters, **self.data_counters(), **self.node.bundles.counters}}

    def data_counters(self):
        """Frames at the data interface, whichever group and role of this node they are for."""
        return self.node.data_counters()

    def counters(self):
        """Counters by name."""
        return {}

    def fence(self, epoch):
        """Refuse everything below *epoch*; returns the result of the request."""
        raise RoleError(f"a {self.role} is not fenced")

    def inputs(self, frames):
        """INPUT frames of this group."""

    def frames(self, hop, frames):
        """Other frames of this group, all of one hop."""
        for frame in frames:
            self.frame(hop, frame)

    def frame(self, hop, frame):
        """One of ``frames``."""

    def serve(self, connection, message):
        """Answer a service message, or say why it can't be."""
        try:
            self.message(connection, message)
        except ServiceError as error:
            connection.send({"t": "refused", "group": self.group, "error": str(error)})

    def release(self):
        """Undo the reference cycles of a role that is dropped."""
        self._guards.clear()

    def message(self, connection, message):
        """A service message of this group."""
        connection.send({"t": "refused", "group": self.group, "error": f"a {self.role} does not serve {message['t']!r}"})

    def disconnected(self, connection):
        """A connection that this role may have served is closed."""

    def close(self):
        """Give the role up."""
