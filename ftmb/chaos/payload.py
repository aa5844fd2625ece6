"""The numbered datagrams of a campaign, and the records that receivers keep of them, and senders.

A datagram begins with room for a witness's stamp (zero when it is sent); the rest says who sent what, when, and is
guarded by a hash: nothing but the stamp may change on its way.
"""

import hashlib
import struct
from typing import NamedTuple, Tuple

#: the UDP port of the service, whose datagrams the witnesses stamp
PORT = 7100
#: a stamp is at most two 64-bit numbers
STAMP_BYTES = 16
RECORD_BYTES_MAX = 1 << 30
#: a program's record of what it sent is beside the one of what it received
SENT_SUFFIX = ".sent"

_STAMP = struct.Struct("!QQ")
_BODY = struct.Struct("!BIHIIQ")        # back, inside address, inside port, flow, number, sent (ns)
_DIGEST_BYTES = 8
DATAGRAM_BYTES = STAMP_BYTES + _BODY.size + _DIGEST_BYTES
_ARRIVAL = struct.Struct("!QBIHIIQQQIH")
_SENT = struct.Struct("!QBII")


class PayloadError(ValueError):
    """Bytes that no program of the campaign has sent: changed, cut or mixed up on the way."""


class Sent(NamedTuple):
    """A datagram as its sender knows it; the fields are those of an Arrival."""

    sent_ns: int
    back: bool
    flow: int
    number: int

    @property
    def datagram(self):
        """What makes it this datagram and no other."""
        return self.back, self.flow, self.number


class Arrival(NamedTuple):
    """A datagram as its receiver saw it. Times are CLOCK_MONOTONIC, which all hosts share, in ns."""

    received_ns: int
    back: bool                  # an answer, from the server to the client
    inside: Tuple[int, int]     # address and port of the client's socket
    flow: int
    number: int                 # rising from 0 in each flow
    sent_ns: int
    stamp: int                  # what the witness wrote, 0 without one
    count: int                  # the second number of its stamp
    source: Tuple[int, int]     # address and port that the receiver saw

    @property
    def datagram(self):
        """What makes it this datagram and no other."""
        return self.back, self.flow, self.number


def encode(back, inside, flow, number, sent_ns):
    """The datagram as it is sent."""
    body = _BODY.pack(back, *inside, flow, number, sent_ns)
    return bytes(STAMP_BYTES) + body + hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()


def decode(data, received_ns, source):
    """The Arrival of *data* from *source* (address, port). Raises PayloadError."""
    if len(data) != DATAGRAM_BYTES:
        raise PayloadError(f"a datagram has {DATAGRAM_BYTES} bytes, not {len(data)}")
    body = data[STAMP_BYTES:-_DIGEST_BYTES]
    if hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest() != data[-_DIGEST_BYTES:]:
        raise PayloadError("a datagram's content was changed")
    back, address, port, flow, number, sent_ns = _BODY.unpack(body)
    return Arrival(received_ns, bool(back), (address, port), flow, number, sent_ns, *_STAMP.unpack_from(data), source)


def to_record(arrival):
    """*arrival* as the bytes of a record."""
    return _ARRIVAL.pack(arrival.received_ns, arrival.back, *arrival.inside, arrival.flow, arrival.number, arrival.sent_ns,
                         arrival.stamp, arrival.count, *arrival.source)


def from_record(data):
    """The Arrivals in the bytes of a record, in order; one that is not complete yet is left out."""
    arrivals = []
    for fields in _ARRIVAL.iter_unpack(data[:len(data) - len(data) % _ARRIVAL.size]):
        received_ns, back, address, port, flow, number, sent_ns, stamp, count, *source = fields
        arrivals.append(Arrival(received_ns, bool(back), (address, port), flow, number, sent_ns, stamp, count, tuple(source)))
    return arrivals


def to_sent_record(sent):
    """*sent* as the bytes of a record."""
    return _SENT.pack(*sent)


def from_sent_record(data):
    """The Sents in the bytes of a record, as ``from_record``."""
    return [Sent(sent_ns, bool(back), flow, number)
            for sent_ns, back, flow, number in _SENT.iter_unpack(data[:len(data) - len(data) % _SENT.size])]


def read_records(path):
    """(Sents, Arrivals) of a program whose record is the file *path*. Raises OSError, ValueError."""
    return from_sent_record(_read(path + SENT_SUFFIX)), from_record(_read(path))


def _read(path):
    with open(path, "rb") as file:
        data = file.read(RECORD_BYTES_MAX + 1)
    if len(data) > RECORD_BYTES_MAX:
        raise ValueError("the record of a campaign's datagrams is too long")
    return data
