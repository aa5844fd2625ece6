"""Signatures of an IDS: bytes that are looked for in TCP streams and UDP datagrams.

A signature is a map: ``name``; ``pattern``, text or ``hex:`` and digits, 1 to PATTERN_BYTES_MAX bytes; ``protocol`` ``tcp`` (default) or ``udp``;
``destination_port``, of the flow's opener, any by default; ``action`` ``alert`` (default) or ``drop``.
"""

from typing import NamedTuple

from ..sdk import Parameters
from ..sdk.packet import TCP, UDP

SIGNATURES_MAX = 256
PATTERN_BYTES_MAX = 256
_KEYS = ("name", "pattern", "protocol", "destination_port", "action")
_PROTOCOLS = {"tcp": TCP, "udp": UDP}


class Signature(NamedTuple):
    """A signature; *port* None fits any."""

    name: str
    pattern: bytes
    protocol: int
    port: int
    drops: bool

    def is_for(self, key):
        """Whether it is looked for in the flow *key*: (protocol, source, port, destination, port) of its opener."""
        return self.protocol == key[0] and self.port in (None, key[4])


def take_signatures(taken):
    """Take ``signatures`` out of *taken* (Parameters), as a tuple. Raises ConfigurationError."""
    found = tuple(_signature(f"{taken.name}: signature {number}", given)
                  for number, given in enumerate(taken.list("signatures", (), SIGNATURES_MAX), 1))
    if len({signature.name for signature in found}) < len(found):
        taken.fail("signatures: two have the same name")
    return found


def _signature(name, given):
    taken = Parameters(name, given, _KEYS)
    text = taken.any("name")
    if not isinstance(text, str) or not text.isprintable() or not 1 <= len(text) <= 64:
        taken.fail("name must be a printable text of at most 64 characters")
    port = taken.any("destination_port", None)
    if port is not None and (type(port) is not int or not 0 < port < 65536):
        taken.fail(f"destination_port must be an integer from 1 to 65535, not {port!r}")
    return Signature(text, _pattern(taken), _PROTOCOLS[taken.choice("protocol", "tcp", tuple(_PROTOCOLS))], port,
                     taken.choice("action", "alert", ("alert", "drop")) == "drop")


def _pattern(taken):
    text = taken.any("pattern")
    try:
        pattern = bytes.fromhex(text[4:]) if text.startswith("hex:") else text.encode()
    except (AttributeError, ValueError):
        taken.fail(f"pattern must be text or hex: and digits, not {text!r}")
    if not 1 <= len(pattern) <= PATTERN_BYTES_MAX:
        taken.fail(f"pattern must have 1 to {PATTERN_BYTES_MAX} bytes")
    return pattern
