"""IPFIX messages (RFC 7011) about flows: one template, records of what a flow had since it was told last.

Layout: a message header, a template set if it is due, one data set. Fields are information elements of IANA's registry (RFC 7012).
"""

import struct

#: how long messages may be: they fit Ethernet with IPv4 and UDP headers
MESSAGE_BYTES_MAX = 1400
TEMPLATE_ID = 256
_VERSION, _TEMPLATE_SET = 10, 2
_MESSAGE = struct.Struct("!HHIII")
_SET = struct.Struct("!HH")
#: (information element, bytes): source and destination address, ports, protocol, TCP flags, ICMP type and code, packets, octets, first and
#: last packet (ms), why the record is made
_FIELDS = ((8, 4), (12, 4), (7, 2), (11, 2), (4, 1), (6, 2), (32, 2), (2, 8), (1, 8), (152, 8), (153, 8), (136, 1))
_RECORD = struct.Struct("!IIHHBHHQQQQB")
RECORDS_MAX = (MESSAGE_BYTES_MAX - 16 - 8 - 4 * len(_FIELDS) - 4) // _RECORD.size

#: flowEndReason: idle timeout, active timeout, lack of resources
IDLE, ACTIVE, NO_ROOM = 1, 2, 5
_NS_PER_MS, _NS_PER_S = 1_000_000, 1_000_000_000
_ICMP = 1


def record(flow, flags, packets, octets, first_ns, last_ns, reason):
    """One data record about *flow*: (protocol, source, port, destination, port); a port may be None."""
    protocol, source, source_port, destination, destination_port = flow
    if protocol == _ICMP:       # what stands there of ICMP echo is its identifier
        source_port = destination_port = 0
    return _RECORD.pack(source, destination, source_port or 0, destination_port or 0, protocol, flags, 0, packets, octets,
                        first_ns // _NS_PER_MS, last_ns // _NS_PER_MS, reason)


def message(records, sequence, domain, now_ns, with_template):
    """A message with *records* (bytes each, at most RECORDS_MAX); *sequence*: data records sent before, modulo 2**32."""
    body = b""
    if with_template:
        fields = b"".join(_SET.pack(*field) for field in _FIELDS)
        body = _SET.pack(_TEMPLATE_SET, 8 + len(fields)) + _SET.pack(TEMPLATE_ID, len(_FIELDS)) + fields
    if records:
        data = b"".join(records)
        body += _SET.pack(TEMPLATE_ID, 4 + len(data)) + data
    return _MESSAGE.pack(_VERSION, 16 + len(body), now_ns // _NS_PER_S, sequence & 0xFFFFFFFF, domain) + body


def parse(data):
    """(sequence, domain, has a template, [records as tuples of numbers in the template's order]) of a *message*; for tests and checkers.

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
            if kind == TEMPLATE_ID:
                records += list(_RECORD.iter_unpack(data[at + 4:at + size]))
            template = template or kind == _TEMPLATE_SET
            at += size
    except struct.error as error:
        raise ValueError(str(error)) from error
    return sequence, domain, template, records
