"""Parameters: takes a function's parameters out of its configuration, each with its type checked.

::

    def configure(self, parameters):
        taken = Parameters("limiter", parameters)
        self.rate = taken.integer("rate_packets_per_s", 1000, 1, 1_000_000)
        self.exempt = taken.networks("exempt", ())
        taken.finish()          # what is left is a parameter that does not exist

Every method raises ConfigurationError, whose message begins with the function's name and names the parameter, what it is and what is
allowed. IPv4 addresses and networks become ints: an address, or (network, mask). Where IPv6 is taken, too, an address of it becomes 16 bytes,
and a network of either a Prefix.
"""

import ipaddress
from typing import NamedTuple

from .middlebox import ConfigurationError

_NO_DEFAULT = object()


class Prefix(NamedTuple):
    """An IPv4 or IPv6 prefix as numbers of *bits* (32 or 128) bits."""

    network: int
    mask: int
    bits: int

    def has(self, address):
        """Whether *address* (an int, or 16 bytes) is in it; one of the other family never is."""
        if isinstance(address, bytes):
            return self.bits == 128 and int.from_bytes(address, "big") & self.mask == self.network
        return self.bits == 32 and address & self.mask == self.network


class Parameters:
    """The parameters *given* (a map, e.g. from YAML) of the function, or part of one, that is called *name*.

    *known*: names of all parameters; with it a misspelt one is told before the one that is missing for it.
    """

    def __init__(self, name, given, known=()):
        if not isinstance(given, dict) or not all(type(key) is str for key in given):
            raise ConfigurationError(f"{name}: a map of parameters is needed, not {given!r}")
        self.name = name
        self._given = dict(given)
        self._known = list(known)
        if known and not set(given) <= set(known):
            self._refuse(set(given) - set(known))

    def fail(self, message):
        """Raise ConfigurationError with *message* after the function's name."""
        raise ConfigurationError(f"{self.name}: {message}")

    def any(self, name, default=_NO_DEFAULT):
        """Take the parameter *name* as it is; without a *default* it has to be there."""
        self._known.append(name)
        value = self._given.pop(name, default)
        if value is _NO_DEFAULT:
            self.fail(f"{name} is needed")
        return value

    def integer(self, name, default, least, most):
        """An integer from *least* to *most*."""
        value = self.any(name, default)
        if type(value) is not int or not least <= value <= most:
            self.fail(f"{name} must be an integer from {least} to {most}, not {value!r}")
        return value

    def boolean(self, name, default):
        """True or False."""
        value = self.any(name, default)
        if type(value) is not bool:
            self.fail(f"{name} must be true or false, not {value!r}")
        return value

    def choice(self, name, default, choices):
        """One of the texts *choices*."""
        value = self.any(name, default)
        if value not in choices:
            self.fail(f"{name} must be one of {', '.join(choices)}, not {value!r}")
        return value

    def list(self, name, default, most):
        """A list of at most *most* items of any kind, as a tuple."""
        value = self.any(name, default)
        if not isinstance(value, (list, tuple)) or len(value) > most:
            self.fail(f"{name} must be a list of at most {most} items")
        return tuple(value)

    def address(self, name, default=_NO_DEFAULT):
        """An IPv4 address as an int; a *default* is returned as it is."""
        value = self.any(name, default)
        return value if value is default else self.parse_address(name, value)

    def any_address(self, name, default=_NO_DEFAULT):
        """An IPv4 address as an int or an IPv6 address as 16 bytes; a *default* is returned as it is."""
        value = self.any(name, default)
        return value if value is default else self.parse_any_address(name, value)

    def network(self, name, default=_NO_DEFAULT):
        """An IPv4 prefix as (network, mask); a *default* is returned as it is."""
        value = self.any(name, default)
        return value if value is default else self.parse_network(name, value)

    def finish(self):
        """Refuse what nobody has taken."""
        if self._given:
            self._refuse(self._given)

    def _refuse(self, names):
        allowed = f"allowed: {', '.join(sorted(set(self._known)))}" if self._known else "it takes none"
        self.fail(f"unknown parameters {', '.join(sorted(names))}; {allowed}")

    def parse_address(self, name, text):
        """The IPv4 address *text*, which is in the parameter *name*, as an int."""
        if not isinstance(text, str):
            self.fail(f"{name}: {text!r} is not an IPv4 address")
        try:
            return int(ipaddress.IPv4Address(text))
        except ValueError as error:
            raise ConfigurationError(f"{self.name}: {name}: {error}") from error

    def parse_network(self, name, text):
        """The IPv4 prefix *text* ("10.0.0.0/8", or an address for /32) as (network, mask)."""
        if not isinstance(text, str):
            self.fail(f"{name}: {text!r} is not an IPv4 prefix")
        try:
            network = ipaddress.IPv4Network(text)
        except ValueError as error:
            raise ConfigurationError(f"{self.name}: {name}: {error}") from error
        return int(network.network_address), int(network.netmask)

    def parse_any_address(self, name, text):
        """The IP address *text*, which is in the parameter *name*: an int (IPv4) or 16 bytes (IPv6)."""
        if not isinstance(text, str):
            self.fail(f"{name}: {text!r} is not an IP address")
        if ":" not in text:
            return self.parse_address(name, text)
        if "%" in text:
            self.fail(f"{name}: {text!r} has a zone, which is not possible here")
        try:
            return ipaddress.IPv6Address(text).packed
        except ValueError as error:
            raise ConfigurationError(f"{self.name}: {name}: {error}") from error

    def parse_prefix(self, name, text):
        """The prefix *text* (IPv4 or IPv6; an address stands for itself alone) as a Prefix."""
        if not isinstance(text, str) or ":" not in text:
            return Prefix(*self.parse_network(name, text), 32)
        try:
            network = ipaddress.IPv6Network(text)
        except ValueError as error:
            raise ConfigurationError(f"{self.name}: {name}: {error}") from error
        return Prefix(int(network.network_address), int(network.netmask), 128)
