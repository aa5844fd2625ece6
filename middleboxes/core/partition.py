"""Which worker gets a frame, where the middlebox does not say it itself: both directions of a flow go to one.

A fixed, seedless hash (CRC-32) of the sorted ends: addresses, with ports where TCP or UDP has them. Fragments go by their addresses,
since only the first one has ports, and so do IPv6 packets whose headers are unsound; frames that are not IP (ARP among them) go to worker 0.
"""

from zlib import crc32

from . import ipv6

_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
_TCP, _UDP = 6, 17
_WITH_PORTS = (_TCP, _UDP)


def flow_worker(frame, port, workers):
    """The worker (0 to *workers* - 1) for *frame* (bytes, untrusted), whatever the port that it came in at."""
    ethertype = frame[12:14]
    if ethertype == _IPV4 and len(frame) >= 34:
        protocol, source, destination = frame[23], frame[26:30], frame[30:34]
        start = 14 + (frame[14] & 15) * 4
        whole = not (frame[20] & 0x3F or frame[21])     # neither "more fragments" nor an offset
    elif ethertype == _IPV6 and len(frame) >= 54:
        source, destination = frame[22:38], frame[38:54]
        end = ipv6.packet_end(frame)
        chain = None if end is None else ipv6.walk(frame, end)
        protocol, start, whole = (chain.protocol, chain.start, chain.is_whole) if chain else (0, 0, False)
    else:
        return 0
    if protocol in _WITH_PORTS and whole and len(frame) >= start + 4:
        source += frame[start:start + 2]
        destination += frame[start + 2:start + 4]
    ends = source + destination if source <= destination else destination + source
    return crc32(ends, protocol) % workers
