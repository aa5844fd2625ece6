"""What the number of flows costs the NAT: processor time of a packet whose flow is in no cache, and the longest that one packet has to wait for state."""

import random
import time

from middleboxes.runtime.link import BATCH

from .inside import fill, frame_of, function_alone, nat_master, no_collector, open_flow

#: packets of different flows, in no order
PACKETS_MAX = 20_000
ROUNDS = 3
_CUT_AFTER = 1000
_NS = 1_000_000_000


def packet_ns(flows):
    """Processor time in ns of the NAT's function for a packet, each of another one of *flows* flows."""
    master = nat_master()
    fill(master, flows)
    context = master.workers[0].context
    context.port, context.now_ns = "inside", _NS + _NS // 2
    numbers = random.Random(1).sample(range(flows), min(flows, PACKETS_MAX))
    spent_ns = 0
    with no_collector():
        for start in range(0, len(numbers), BATCH):
            frames = [frame_of(number) for number in numbers[start:start + BATCH]]      # fresh in the caches, as received ones are
            began_ns = time.thread_time_ns()
            function_alone(master, frames)
            spent_ns += time.thread_time_ns() - began_ns
    return spent_ns / len(numbers)


def longest_ns(flows):
    """(of *flows* flows that come, of one use of each of them) processor time in ns of the one that takes longest.

    The kernel counts interrupts in, so it is the least of several rounds.
    """
    return tuple(map(min, zip(*(_longest_of_round(flows) for _ in range(ROUNDS)))))


def _longest_of_round(flows):
    master = nat_master()
    nat = master.function
    with no_collector():
        coming = _longest(master, flows, lambda number: open_flow(nat, number))
        keys = list(nat.outbound)
        used = _longest(master, flows, lambda number: nat.udp_used.touch(keys[number], 2 * _NS))
    return coming, used


def _longest(master, count, do):
    longest = 0
    for number in range(count):
        if not number % _CUT_AFTER:
            master.cut()
        began_ns = time.thread_time_ns()
        do(number)
        longest = max(longest, time.thread_time_ns() - began_ns)
    return longest


def costs(flows):
    """A row of the table, in ns."""
    coming, used = longest_ns(flows)
    return {"flows": flows, "packet_ns": packet_ns(flows), "longest_new_ns": coming, "longest_use_ns": used}
