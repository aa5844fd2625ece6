"""What is done for each batch of frames at a node and at its roles, compiled: at half load a batch is a few packets, and they pay for all of it.

The roles make what they need of this, tell it where frames go, and have the rest.
"""

from libc.stdint cimport int64_t, uint64_t
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME

from .clocks cimport clock_ns

from ..core.frames import HOP_OUTPUT, addressed_to, by_hop
from ..core.outputlog import by_port
from .link import BATCH
from .role import ROLE_FAILURES

#: batches of outputs and acknowledgements handled in one turn of the loop, at most
cdef enum:
    _BATCHES_PER_TURN = 4
cdef Py_ssize_t _BATCH = BATCH
cdef int _HOP_OUTPUT = HOP_OUTPUT
cdef int64_t _NEVER_NS = (1 << 63) - 1


cdef class Dispatch:
    """Hands what comes to a node to the roles that it is for.

    *links*: (inputs, others); *takers*: {group id: the role that takes its inputs}; *roles*: {group id: [Role, ...]}.
    *keep(group id, frames)*: for inputs that nobody takes yet; *fail(role, error)*: a role can't go on.
    """

    cdef object _receive_inputs, _receive_others, _keep, _fail
    cdef dict _takers, _roles

    def __init__(self, links, takers, roles, keep, fail):
        self._receive_inputs, self._receive_others = [link.receive for link in links]
        self._takers, self._roles, self._keep, self._fail = takers, roles, keep, fail

    def inputs(self):
        """Hand over a batch of inputs; False if none is there."""
        cdef list frames = self._receive_inputs()
        for (group_id, _), some in by_hop(frames):
            role = self._takers.get(group_id)
            if role is None or not role.taking:
                self._keep(group_id, some)
                continue
            try:
                role.inputs(some)
            except ROLE_FAILURES as error:
                self._fail(role, error)
        return len(frames) > 0

    def others(self):
        """Handle what is here, batch by batch, and acknowledge it all at once; False if nothing is there."""
        cdef list frames, touched = []
        cdef bint found = False
        for _ in range(_BATCHES_PER_TURN):
            frames = self._receive_others()
            if frames:
                found = True
                self._hand_over(frames, touched)
            if len(frames) < _BATCH:
                break                   # there are no more
        for role in touched:
            if not role.closed:
                role.acknowledge()
        return found

    cdef int _hand_over(self, list frames, list touched) except -1:
        """Hand *frames* to their roles; output loggers that got outputs go into *touched*."""
        for (group_id, hop), some in by_hop(frames):
            for role in self._roles.get(group_id, ()):
                try:
                    if hop != _HOP_OUTPUT:
                        role.frames(hop, some)
                    elif role.outputs is not None:
                        role.outputs(some)
                        if role not in touched:
                            touched.append(role)
                except ROLE_FAILURES as error:
                    self._fail(role, error)
        return 0


cdef class Inlet:
    """A port of an input logger. Frames to its address *mac* are logged as inputs at port *number* of *core*, and go on to the master.

    *link*: where they come from; *send_all*: what sends a list of frames; *logged*: is called after something was logged.
    """

    cdef readonly uint64_t filtered
    cdef int _number
    cdef bytes _mac
    cdef object _receive, _accept_all, _send_all, _logged

    def __init__(self, core, number, mac, link, send_all, logged):
        self._number, self._mac = number, mac
        self._receive, self._accept_all, self._send_all, self._logged = link.receive, core.accept_all, send_all, logged

    def receive(self):
        """Take what came to the port's interface."""
        self.take(self._receive())

    cpdef take(self, list frames):
        """Take *frames*, however they came to the port."""
        cdef list wanted = addressed_to(frames, self._mac), logged
        self.filtered += len(frames) - len(wanted)
        logged = self._accept_all(self._number, wanted, clock_ns(CLOCK_REALTIME))
        if logged:
            self._send_all(logged)
            self._logged()


cdef class Live:
    """A live master with one worker: its *core* takes inputs, what that gives is sent, and at a bound *hold* is called."""

    cdef object _core, _take_all, _send_all, _hold

    def __init__(self, core, send_all, hold):
        self._core, self._take_all, self._send_all, self._hold = core, core.take_all, send_all, hold

    def inputs(self, frames):
        """Take a batch of INPUT frames."""
        outputs = self._take_all(frames)
        if outputs:
            self._send_all(outputs)
        if not self._core.ready:
            self._hold()


cdef class Outlet:
    """An output logger's ports. OUTPUT frames go into *core*, and what it releases out of its port: *ways* has what sends a list of packets, for each port.

    *send_all*: what sends acknowledgements; *later(when_ns)*: have ``acknowledge_due`` called then; *stored*: is called after each batch.
    ``on_first``: called once after the next packet that leaves. *heard_ns*: when the last batch came (CLOCK_MONOTONIC).
    """

    cdef readonly uint64_t taken
    cdef readonly int64_t heard_ns
    cdef uint64_t _taken_before
    cdef public object on_first
    cdef list _ways
    cdef int64_t _due_ns
    cdef object _receive_all, _acknowledge, _send_all, _later, _stored

    def __init__(self, core, ways, send_all, later, stored):
        self._receive_all, self._acknowledge = core.receive_all, core.acknowledge
        self._ways, self._send_all, self._later, self._stored = ways, send_all, later, stored
        self._due_ns = _NEVER_NS
        self.heard_ns = clock_ns(CLOCK_MONOTONIC)

    def outputs(self, list frames):
        """Take a batch of OUTPUT frames."""
        self.taken += len(frames)
        self.let_out(self._receive_all(frames))
        self._stored()

    cpdef let_out(self, list released):
        """*released*, [(port, packet), ...], may leave: to its ports, and in its order."""
        if not released:
            return
        for way, packets in zip(self._ways, by_port(released, len(self._ways))):
            if packets:
                way(packets)
        if self.on_first is not None:
            on_first, self.on_first = self.on_first, None
            on_first()

    cpdef acknowledge(self):
        """Send the acknowledgements that are due."""
        cdef int64_t again_ns, now_ns = clock_ns(CLOCK_MONOTONIC)
        if self.taken != self._taken_before:
            self._taken_before, self.heard_ns = self.taken, now_ns
        frames, again_ns = self._acknowledge(now_ns)
        if frames:
            self._send_all(frames)
        # an earlier timer is left where it is when there is more time: most acknowledgements go out with a batch
        if again_ns < self._due_ns:
            self._due_ns = again_ns
            self._later(again_ns)

    def acknowledge_due(self):
        """The timer of ``later`` has come."""
        self._due_ns = _NEVER_NS
        self.acknowledge()
