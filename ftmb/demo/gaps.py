"""Arithmetic on the probe flow's record: silences, losses, repeats, distributions. Pure."""

import bisect


def longest_silence(received_ns, start_ns, end_ns):
    """The longest time without an arrival that overlaps [start_ns, end_ns], as (from_ns, to_ns).

    *received_ns* is sorted. A silence that began before *start_ns* counts from its beginning; one that has not
    ended by *end_ns* counts up to there. Without any arrival before the end, it is the whole window.
    """
    first = max(0, bisect.bisect_right(received_ns, start_ns) - 1)
    last = bisect.bisect_right(received_ns, end_ns)
    points = list(received_ns[first:last])
    if not points or points[0] > start_ns:
        points.insert(0, start_ns)
    points.append(end_ns)
    pairs = list(zip(points, points[1:]))
    return max(pairs, key=lambda pair: pair[1] - pair[0])


def arrived_after(received_ns, moment_ns):
    """How many arrivals are later than *moment_ns*."""
    return len(received_ns) - bisect.bisect_right(received_ns, moment_ns)


def lost_between(numbers, received_ns, start_ns, end_ns):
    """Probes missing among those that arrived in [start_ns, end_ns] and the one before."""
    first = max(0, bisect.bisect_left(received_ns, start_ns) - 1)
    seen = numbers[first:bisect.bisect_right(received_ns, end_ns)]
    if not seen:
        return 0
    return max(seen) - min(seen) + 1 - len(set(seen))


def repeats(numbers):
    """How many arrivals carried a number that had arrived before."""
    return len(numbers) - len(set(numbers))


def percentile(values, percent):
    """The smallest of *values* that at least *percent* of them do not exceed. Raises ValueError without values."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def distribution(values):
    """{"p50", "p90", "max"} of *values*, or None without any."""
    if not values:
        return None
    return {"p50": percentile(values, 50), "p90": percentile(values, 90), "max": max(values)}
