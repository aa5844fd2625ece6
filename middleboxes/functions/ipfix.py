"""IPFIX messages (RFC 7011) about flows: a template for IPv4 and one for IPv6, records of what a flow had since it was told last.

Layout: a message header, a template set if it is due, a data set of each kind that there are records of. Fields are information elements of IANA's registry (RFC 7012).
"""

import struct

#: how long messages may be: they fit Ethernet with IP and UDP headers
MESSAGE_BYTES_MAX = 1400
TEMPLATE_ID, TEMPLATE6_ID = 256, 257
_VERSION, _TEMPLATE_SET = 10, 2
_MESSAGE = struct.Struct("!HHIII")
_SET = struct.Struct("!HH")
#: (information element, bytes) of what both kinds have: packets, octets, first and last packet (ms), why the record is made
_COUNTS = ((2, 8), (1, 8), (152, 8), (153, 8), (136, 1))
#: source and destination address, ports, protocol, TCP flags, ICMP type and code
_FIELDS = ((8, 4), (12, 4), (7, 2), (11, 2), (4, 1), (6, 2), (32, 2), *_COUNTS)
_FIELDS6 = ((27, 16), (28, 16), (7, 2), (11, 2), (4, 1), (6, 2), (139, 2), *_COUNTS)
_RECORD = struct.Struct("!IIHHBHHQQQQB")
_RECORD6 = struct.Struct("!16s16sHHBHHQQQQB")
_KINDS = {TEMPLATE_ID: _RECORD, TEMPLATE6_ID: _RECORD6}
#: what records have of a message with both templates and a data set of each kind
_ROOM_BYTES = MESSAGE_BYTES_MAX - 16 - 4 - 2 * (4 + 4 * len(_FIELDS)) - 2 * 4
#: so many of IPv4 fit
RECORDS_MAX = _ROOM_BYTES // _RECORD.size

#: flowEndReason: idle timeout, active timeout, lack of resources
IDLE, ACTIVE, NO_ROOM = 1, 2, 5
_NS_PER_MS, _NS_PER_S = 1_000_000, 1_000_000_000
_ICMP, _ICMPV6 = 1, 58


def record(flow, flags, packets, octets, first_ns, last_ns, reason):
    """One data record about *flow*: (protocol, source, port, destination, port), addresses as ints or 16 bytes; a port may be None."""
    protocol, source, source_port, destination, destination_port = flow
    if protocol in (_ICMP, _ICMPV6):       # what stands there of echo is its identifier
        source_port = destination_port = 0
    kind = _RECORD6 if isinstance(source, bytes) else _RECORD
    return kind.pack(source, destination, source_port or 0, destination_port or 0, protocol, flags, 0, packets, octets,
                     first_ns // _NS_PER_MS, last_ns // _NS_PER_MS, reason)


def fitting(records):
    """How many of *records* (bytes each), from the first on, fit into one message."""
    room = _ROOM_BYTES
    for number, each in enumerate(records):
        room -= len(each)
        if room < 0:
            return number
    return len(records)


def message(records, sequence, domain, now_ns, with_template, with_ipv6=False):
    """A message with *records* (bytes each, as many as are ``fitting``); *sequence*: data records sent before, modulo 2**32.

    *with_template*: the template for IPv4, and *with_ipv6* that for IPv6.
    """
    body = b""
    if with_template:
        templates = b"".join(_SET.pack(number, len(fields)) + b"".join(_SET.pack(*field) for field in fields)
                             for number, fields in ((TEMPLATE_ID, _FIELDS), (TEMPLATE6_ID, _FIELDS6)) if with_ipv6 or fields is _FIELDS)
        body = _SET.pack(_TEMPLATE_SET, 4 + len(templates)) + templates
    for number, kind in _KINDS.items():
        data = b"".join(each for each in records if len(each) == kind.size)
        if data:
            body += _SET.pack(number, 4 + len(data)) + data
    return _MESSAGE.pack(_VERSION, 16 + len(body), now_ns // _NS_PER_S, sequence & 0xFFFFFFFF, domain) + body


def parse(data):
    """(sequence, domain, has a template, [records as tuples in the template's order, addresses as ints or 16 bytes]) of a *message*; for tests and checkers.

    Raises ValueError if it is not one of ours.
    """
    try:
        version, length, _, sequence, domain = _MESSAGE.unpack_from(data)
        at, template, records = 16, False, []
        if version != _VERSION or length != len(data):
            raise ValueError("not an IPFIX message")
        while at < length:
            kind, size = _SET.unpack_from(data, at)
            if size < 4 or at + size > length:
                raise ValueError("a set of a wrong length")
            if kind in _KINDS:
                records += list(_KINDS[kind].iter_unpack(data[at + 4:at + size]))
            template = template or kind == _TEMPLATE_SET
            at += size
    except struct.error as error:
        raise ValueError(str(error)) from error
    return sequence, domain, template, records
