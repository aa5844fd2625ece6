"""The invariants as checks on what receivers saw. Pure: Arrivals in, violations out (texts, empty if all held).

The causal check is the strongest: whoever sends a datagram after another one has arrived must get a higher number
from one shared counter, whatever failovers, losses and reorderings lie between. So a counter that went back shows even
where no number is seen twice.
"""

#: A NAT forgets a UDP mapping after 300 s without use; up to here it must not.
MAPPING_KEPT_NS = 290_000_000_000
#: What was sent so long before the newest one that had arrived is on its way no more: by less they may overtake each other.
ON_THE_WAY_NS = 200_000_000
#: Of each kind of violation so many are told, and how many more there were.
TOLD_MAX = 5


def check(function, arrivals):
    """All checks that fit a campaign with *function* (nat, sequencer, shared-counter), on *arrivals* in any order."""
    arrivals = sorted(arrivals)
    found = once(arrivals)
    if function == "nat":
        return found + mappings_stay(arrivals) + mappings_are_not_shared(arrivals)
    found += stamped(arrivals) + one_stamp_for_one_datagram(arrivals) + flows_in_order(arrivals)
    found += never_back(arrivals, "number", lambda arrival: arrival.stamp)
    if function == "shared-counter":
        by_source = _grouped(arrivals, lambda arrival: arrival.source)
        for source, group in by_source.items():
            found += never_back(group, f"count of {_endpoint(source)}", lambda arrival: arrival.count)
            found += counts_agree(source, group)
    return found


def once(arrivals):
    """No datagram arrives twice, least of all in two versions."""
    found, seen = [], {}
    for arrival in arrivals:
        first = seen.get(arrival.datagram)
        if first is None:
            seen[arrival.datagram] = arrival
        else:
            same = (first.stamp, first.count, first.source) == (arrival.stamp, arrival.count, arrival.source)
            found.append(f"{_name(arrival)} left twice" if same else
                         f"{_name(arrival)} left in two versions: {_version(first)}, then {_version(arrival)}")
    return _few(found)


def stamped(arrivals):
    """Every datagram has a number."""
    return _few([f"{_name(arrival)} has no number" for arrival in arrivals if not arrival.stamp])


def one_stamp_for_one_datagram(arrivals):
    """No number is seen on two datagrams."""
    found, seen = [], {}
    for arrival in arrivals:
        first = seen.setdefault(arrival.stamp, arrival)
        if first.datagram != arrival.datagram:
            found.append(f"number {arrival.stamp} is on {_name(first)} and on {_name(arrival)}")
    return _few(found)


def flows_in_order(arrivals):
    """Numbers of one flow and direction rise in the order of sending."""
    found = []
    for group in _grouped(arrivals, lambda arrival: (arrival.back, arrival.flow)).values():
        group = sorted(group, key=lambda arrival: (arrival.sent_ns, arrival.number))
        for before, after in zip(group, group[1:]):
            if before.datagram != after.datagram and after.stamp <= before.stamp:
                found.append(f"{_name(after)} has number {after.stamp}, {_name(before)}, sent before it, has {before.stamp}")
    return _few(found)


def never_back(arrivals, what, value):
    """*value* of a datagram that is sent after another one arrived is above that one's."""
    # at equal times nothing is known: a sending comes first
    events = [(arrival.sent_ns, 0, arrival) for arrival in arrivals]
    events += [(arrival.received_ns, 1, arrival) for arrival in arrivals]
    events.sort()
    found, highest = [], None
    for _, is_arrival, arrival in events:
        if is_arrival:
            if highest is None or value(arrival) > value(highest):
                highest = arrival
        elif highest is not None and value(arrival) <= value(highest):
            found.append(f"{what} went back: {_name(arrival)} has {value(arrival)}, sent "
                         f"{(arrival.sent_ns - highest.received_ns) / 1e6:.3f} ms after {_name(highest)} arrived with {value(highest)}")
    return _few(found)


def counts_agree(source, arrivals):
    """Along the total, the count of one *source* rises, and never by more than the total does."""
    found = []
    group = sorted({(arrival.stamp, arrival.count) for arrival in arrivals})
    for (total, count), (next_total, next_count) in zip([(0, 0), *group], group):
        if not 0 < next_count - count <= next_total - total:
            found.append(f"{_endpoint(source)}: count {next_count} at total {next_total} after count {count} at total {total}")
    return _few(found)


def mappings_stay(arrivals):
    """An inside endpoint keeps its external endpoint while it is in use."""
    found, known = [], {}
    for arrival in _there(arrivals):
        before = known.get(arrival.inside)
        if before and before.source != arrival.source and arrival.received_ns - before.received_ns < MAPPING_KEPT_NS:
            found.append(f"the mapping of {_endpoint(arrival.inside)} changed from {_endpoint(before.source)} to "
                         f"{_endpoint(arrival.source)}")
        known[arrival.inside] = arrival
    return _few(found)


def mappings_are_not_shared(arrivals):
    """An external endpoint in use belongs to one inside endpoint."""
    found, owner = [], {}
    for arrival in _there(arrivals):
        before = owner.get(arrival.source)
        if before and before.inside != arrival.inside and arrival.received_ns - before.received_ns < MAPPING_KEPT_NS:
            found.append(f"{_endpoint(arrival.source)} was given to {_endpoint(before.inside)} and to {_endpoint(arrival.inside)}")
        owner[arrival.source] = arrival
    return _few(found)


def lost(sent, arrivals, logger_deaths):
    """([texts] of the lost ones of *sent* that may have been on their way when a logger died, [texts] of the others).

    *logger_deaths*: (when it died, when another one had its role) in ns.
    """
    times = [(_sent_since(arrivals, died_ns), to_ns) for died_ns, to_ns in logger_deaths]
    arrived = {arrival.datagram for arrival in arrivals}
    at_deaths, elsewhere = [], []
    for each in sorted(sent):
        if each.datagram not in arrived:
            at_death = any(from_ns <= each.sent_ns <= to_ns for from_ns, to_ns in times)
            (at_deaths if at_death else elsewhere).append(_name(each))
    return at_deaths, elsewhere


def _sent_since(arrivals, moment_ns):
    """What was sent from then on, of either direction, may have been on its way at *moment_ns*: on a busy machine that is long."""
    newest_ns = [0, 0]
    for arrival in arrivals:
        if arrival.received_ns <= moment_ns:
            newest_ns[arrival.back] = max(newest_ns[arrival.back], arrival.sent_ns)
    return min(newest_ns) - ON_THE_WAY_NS


def losses_explained(elsewhere, overrun):
    """As long as both loggers live, only queues of the network lose datagrams, *overrun* frames in all."""
    if len(elsewhere) <= overrun:
        return []
    reason = f", and queues of the network explain only {overrun}" if overrun else ""
    return [f"{len(elsewhere)} datagrams were lost while no logger died{reason}: first {elsewhere[0]}"]


def _there(arrivals):
    return (arrival for arrival in arrivals if not arrival.back)


def _grouped(arrivals, key):
    groups = {}
    for arrival in arrivals:
        groups.setdefault(key(arrival), []).append(arrival)
    return groups


def _few(found):
    return found if len(found) <= TOLD_MAX else [*found[:TOLD_MAX], f"... and {len(found) - TOLD_MAX} more like the last"]


def _name(arrival):
    return f"{'answer' if arrival.back else 'datagram'} {arrival.number} of flow {arrival.flow}"


def _version(arrival):
    return f"number {arrival.stamp}, count {arrival.count}, from {_endpoint(arrival.source)}"


def _endpoint(endpoint):
    address, port = endpoint
    return ".".join(str(byte) for byte in address.to_bytes(4, "big")) + f":{port}"
