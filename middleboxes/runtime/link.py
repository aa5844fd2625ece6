"""Raw packet sockets: the data interface (only NSH to its own address) and the port interfaces of loggers (everything).

A redirect rewrites the virtual MAC to that of the interface: NSH to any other address, also broadcast, has not come by
way of one, and is not taken.
"""

import ctypes
import fcntl
import socket
import struct

from .batches import Batches

ETH_P_ALL = 0x0003
ETH_P_NSH = 0x894F
# Linux's numbers that Python's socket module does not name
SOL_PACKET = 263
PACKET_FANOUT, PACKET_FANOUT_DATA, PACKET_IGNORE_OUTGOING = 18, 22, 23
PACKET_FANOUT_CBPF, PACKET_FANOUT_FLAG_UNIQUEID = 6, 0x2000
SO_ATTACH_FILTER = 26
SO_RCVBUFFORCE, SO_SNDBUFFORCE = 33, 32
SIOCGIFHWADDR = 0x8927
SIOCGIFMTU = 0x8921

#: what a link counts, besides what its queue lost
_COUNTS = ("sent", "received", "send_failed", "oversize", "messages_sent", "messages_received", "malformed")
#: one read; a frame that fills it was cut off (offloads left on): dropped and counted
FRAME_BYTES_MAX = 9216
PACKET_STATISTICS = 6
RECEIVE_BUFFER_BYTES = 32 << 20
#: Frames handled, and sent, in one go. They leave as a burst: a port of a user-space Open vSwitch queues about 90 long frames.
BATCH = 32


class LinkError(OSError):
    """An interface that can't be opened; the message names it and the mend."""


# Classic BPF (linux/filter.h): load a word or byte at an offset, jump by so many instructions if equal or not, return.
_LOAD_WORD, _LOAD_BYTE, _JUMP_EQUAL, _RETURN = 0x20, 0x30, 0x15, 0x06
#: a program that chooses a socket sees a frame from behind its Ethernet header on
_ETHERNET_BYTES = 14
_ACCEPT, _DROP = (_RETURN, 0, 0, 0xFFFFFFFF), (_RETURN, 0, 0, 0)
#: where an NSH frame has its service path and index (one word), the index alone, and INPUT and ACK frames their worker
_PATH_AT, _HOP_AT, WORKER_AT = 18, 21, 30
#: a jump reaches no further than 255 instructions
_EXCLUDED_MAX = 200


#: the kernel's note on a frame (linux/filter.h: SKF_AD_OFF + SKF_AD_PKTTYPE): PACKET_HOST if it is to the interface's own address
_PACKET_TYPE_AT, _PACKET_HOST = 0xFFFFF004, 0
_OWN_ONLY = ((_LOAD_BYTE, 0, 0, _PACKET_TYPE_AT), (_JUMP_EQUAL, 1, 0, _PACKET_HOST), _DROP)


def _code(*instructions):
    return b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)


def _program(*instructions):
    """Pass frames to the interface's own address that *instructions* pass."""
    return _code(*_OWN_ONLY, *instructions)


def _filter(excluded=()):
    """Pass frames but for those of the *excluded* (group id, hop)."""
    count = len(excluded)
    tests = [(_JUMP_EQUAL, count - number, 0, group << 8 | hop) for number, (group, hop) in enumerate(excluded)]
    return _program((_LOAD_WORD, 0, 0, _PATH_AT), *tests, _ACCEPT, _DROP) if excluded else _program(_ACCEPT)


#: until it is known who gets what
_NOTHING = _code(_DROP)


def _worker_filter(group_id, hop, worker):
    """Pass frames of one group and hop for one worker."""
    return _program((_LOAD_WORD, 0, 0, _PATH_AT), (_JUMP_EQUAL, 0, 3, group_id << 8 | hop),
                    (_LOAD_BYTE, 0, 0, WORKER_AT), (_JUMP_EQUAL, 0, 1, worker), _ACCEPT, _DROP)


class Link:
    """One raw socket on *interface*: ``receive`` up to BATCH frames that are there now, ``send`` a frame, ``send_all`` a list of them.

    What the interface can't take is a network loss, counted. *aggregates*: between roles, where a batch goes in as few messages as
    the interface's MTU allows.
    """

    def __init__(self, interface, protocol, program=None, aggregates=False):
        self.interface = interface
        self._overrun = 0
        try:
            self._socket = sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        except PermissionError as error:
            raise LinkError(f"raw sockets need root (CAP_NET_RAW): {error}") from error
        try:
            if program is not None:
                self.filter(program)
            sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
            sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, RECEIVE_BUFFER_BYTES)
            sock.bind((interface, protocol))
        except OSError as error:
            sock.close()
            raise LinkError(f"interface {interface} can't be opened: {error}") from error
        sock.setblocking(False)
        # a longer one would be cut by who receives it
        aggregate_bytes_max = min(_ETHERNET_BYTES + self.mtu_bytes, FRAME_BYTES_MAX - 1) if aggregates else 0
        self._batches = Batches(sock.fileno(), BATCH, FRAME_BYTES_MAX, aggregate_bytes_max)
        # called for each batch: without a step in between
        self.receive, self.send_all = self._batches.take, self._batches.give
        self.fileno = sock.fileno

    def filter(self, program):
        """Let only frames that *program* (classic BPF) passes into the queue from now on."""
        self._set_program(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)

    def _set_program(self, level, option, program):
        buffer = ctypes.create_string_buffer(program)
        self._socket.setsockopt(level, option, struct.pack("HL", len(program) // 8, ctypes.addressof(buffer)))

    def share(self, first=None):
        """Share what comes with *first* (None: be that), which gets what ``choose`` says: each frame goes to one socket only, once."""
        if first is None:
            wanted = PACKET_FANOUT_CBPF << 16 | PACKET_FANOUT_FLAG_UNIQUEID << 16
        else:
            wanted = first._socket.getsockopt(SOL_PACKET, PACKET_FANOUT) & 0xFFFF | PACKET_FANOUT_CBPF << 16
        self._socket.setsockopt(SOL_PACKET, PACKET_FANOUT, wanted)

    def choose(self, program):
        """Which of the sockets that share gets a frame: what *program* returns, 0 for the first."""
        self._set_program(SOL_PACKET, PACKET_FANOUT_DATA, program)

    @property
    def mac(self):
        """The interface's MAC, 6 bytes."""
        return self._ask(SIOCGIFHWADDR)[18:24]

    @property
    def mtu_bytes(self):
        """The interface's MTU: a frame without its Ethernet header."""
        return struct.unpack_from("i", self._ask(SIOCGIFMTU), 16)[0]

    def _ask(self, request):
        return fcntl.ioctl(self._socket.fileno(), request, struct.pack("256s", self.interface.encode()[:15]))

    def counts(self):
        """Frames so far: "sent", "received", and lost here: "send_failed", "oversize" (of those received).

        Messages, which are frames or aggregates: "messages_sent", "messages_received", and lost here: "malformed" (of those received),
        "overrun" (the queue).
        """
        _, overrun = struct.unpack("II", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        self._overrun += overrun        # the kernel counts anew after each reading
        return {**{name: getattr(self._batches, name) for name in _COUNTS}, "overrun": self._overrun}

    def send(self, frame):
        """``send_all`` of one."""
        self.send_all([frame])

    def send_apart(self, frames):
        """``send_all``, but each of *frames* alone: a switch has as much work with them here as where they leave."""
        self.send_all(frames, False)

    def close(self):
        """Close the socket."""
        self._socket.close()


def data_links(interface, input_hop):
    """(inputs, others): two sockets on the data interface, so that a master can stop reading inputs and still
    read acknowledgements. Both see NSH frames to the interface's own address only."""
    inputs, others = links = [Link(interface, ETH_P_NSH, _NOTHING, aggregates=True) for _ in range(2)]
    # two sockets that each look at all frames would cost a sender a copy of each frame, and another look at it
    inputs.share()
    others.share(inputs)
    inputs.choose(_code((_LOAD_BYTE, 0, 0, _HOP_AT - _ETHERNET_BYTES), (_JUMP_EQUAL, 0, 1, input_hop), (_RETURN, 0, 0, 0), (_RETURN, 0, 0, 1)))
    exclude(links, input_hop, 0, ())
    return inputs, others


def exclude(links, input_hop, ack_hop, groups):
    """Let *links* (of ``data_links``) pass no inputs and acknowledgements of *groups*, whose workers have sockets of their own."""
    for link, hop in zip(links, (input_hop, ack_hop)):
        link.filter(_filter([(group, hop) for group in groups[:_EXCLUDED_MAX]]))


def worker_link(interface, group_id, hop, worker):
    """The frames of one *hop* (INPUT or ACK) for one worker of a group."""
    return Link(interface, ETH_P_NSH, _worker_filter(group_id, hop, worker), aggregates=True)


def data_sender(interface):
    """A way to send by the data interface: nothing is queued that nobody reads."""
    return Link(interface, 0, aggregates=True)


def port_link(interface, receives=True):
    """An interface as it is: all frames, or only a way to send (nothing is queued that nobody reads)."""
    return Link(interface, ETH_P_ALL if receives else 0)


def counts(links):
    """The sum of the counts of *links*."""
    total = {}
    for link in links:
        for name, count in link.counts().items():
            total[name] = total.get(name, 0) + count
    return total
