"""What differs between IPv4 and IPv6 for functions that handle both: protocol numbers and ICMP types, told by the address of a packet or flow."""

from typing import NamedTuple

from ..sdk.packet import ICMP, ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST
from ..sdk.packet6 import ECHO_REPLY, ECHO_REQUEST, ICMPV6


class Family(NamedTuple):
    """*icmp*: its protocol number; *foreign*: that of the other family's ICMP, which has no meaning here; types of its messages.

    *errors*: those that are for end hosts (IPv4: destination unreachable, time exceeded, parameter problem, not source quench and redirect;
    IPv6: RFC 4890, 4.3.1); *prohibited*: type and code of "communication administratively prohibited".
    """

    icmp: int
    foreign: int
    echo_request: int
    echo_reply: int
    errors: tuple
    prohibited: tuple


V4 = Family(ICMP, ICMPV6, ICMP_ECHO_REQUEST, ICMP_ECHO_REPLY, (3, 11, 12), (3, 13))
V6 = Family(ICMPV6, ICMP, ECHO_REQUEST, ECHO_REPLY, (1, 2, 3, 4), (1, 1))


def family_of(address):
    """The Family of *address* (an int, or 16 bytes)."""
    return V6 if isinstance(address, bytes) else V4
