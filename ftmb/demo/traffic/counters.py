"""The kernel's own TCP counters of the network namespace that we run in."""

#: What we watch: resets sent, established connections that were reset, segments sent again.
WATCHED = ("OutRsts", "EstabResets", "RetransSegs")


class CountersError(Exception):
    """The kernel's counters are not in the form that we know."""


def parse_snmp(text):
    """The WATCHED counters out of the text of /proc/net/snmp. Raises CountersError."""
    rows = [line.split()[1:] for line in text.splitlines() if line.startswith("Tcp:")]
    if len(rows) != 2:
        raise CountersError("no TCP counters in /proc/net/snmp")
    values = dict(zip(*rows))
    missing = [name for name in WATCHED if name not in values]
    if missing:
        raise CountersError(f"/proc/net/snmp has no {', '.join(missing)}")
    return {name: int(values[name]) for name in WATCHED}


class Counters:
    """Growth of the WATCHED counters since this object was made."""

    def __init__(self):
        self._start = self._read()

    def growth(self):
        """A map of name to growth."""
        now = self._read()
        return {name: now[name] - self._start[name] for name in WATCHED}

    @staticmethod
    def _read():
        with open("/proc/self/net/snmp", encoding="ascii") as file:
            return parse_snmp(file.read())
