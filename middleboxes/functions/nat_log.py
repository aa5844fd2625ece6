"""The log of a NAT's mappings: a syslog message (RFC 5424 over UDP, RFC 5426) to a collector for each one that begins or ends.

The messages are packets of the NAT like any other, so after a failover none is missing, repeated or changed, but for what the network
between NAT and collector loses: they are numbered from 1 on, so that this is seen::

    <134>1 2023-11-14T22:13:20.000001Z 192.0.2.254 nat - mapping - n=7 begin tcp 10.0.0.1:5000 192.0.2.100:40000
"""

from ..sdk.build import NO_MAC, ipv4, udp
from ..sdk.packet import ICMP, TCP, UDP, endpoint_parts

#: facility local0, severity informational
_PRIORITY = 134
_PROTOCOLS = {TCP: "tcp", UDP: "udp", ICMP: "icmp"}


class MappingLog:
    """Sends messages of *nat* (an Ipv4Router) to *collector* (address) at UDP *port*; *number* is a Map with the last number."""

    def __init__(self, nat, collector, port, number):
        self._nat, self._collector, self._port, self._number = nat, collector, port, number

    def tell(self, word, inside, external, ctx):
        """A mapping of the end *inside* to the end *external* begins or ends (*word*)."""
        hop = self._nat.route(self._collector)
        if hop is None:
            self._nat.drop("log_no_route")
            return
        source = self._nat.port[hop[0]].address
        number = self._number["last"] = self._number.get("last", 0) + 1
        protocol, *from_end = endpoint_parts(inside)
        _, *to_end = endpoint_parts(external)
        text = (f"<{_PRIORITY}>1 {_timestamp(ctx.now_ns)} {_dotted(source)} nat - mapping - n={number} {word} {_PROTOCOLS[protocol]}"
                f" {_end(*from_end)} {_end(*to_end)}")
        datagram = udp(source, self._port, self._collector, self._port, text.encode())
        self._nat.transmit_to(ipv4(NO_MAC, NO_MAC, UDP, source, self._collector, datagram), *hop, ctx)


def _dotted(address):
    return ".".join(map(str, address.to_bytes(4, "big")))


def _end(address, port):
    return f"{_dotted(address)}:{port}"


def _timestamp(now_ns):
    """UTC to the microsecond as RFC 3339 wants it; days to a date as H. Hinnant's "days_from_civil" has it, backwards."""
    seconds, ns = divmod(now_ns, 1_000_000_000)
    days, seconds = divmod(seconds, 86400)
    era, day_of_era = divmod(days + 719_468, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted_month = (5 * day_of_year + 2) // 153
    day, month = day_of_year - (153 * shifted_month + 2) // 5 + 1, shifted_month + (3 if shifted_month < 10 else -9)
    year = year_of_era + era * 400 + (month <= 2)
    return (f"{year:04}-{month:02}-{day:02}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ns // 1000:06}Z")
