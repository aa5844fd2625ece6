"""What can be measured without a network: the core's classes in this process, fed with frames as the roles feed them."""

import gc
import math
import statistics
import time
from contextlib import contextmanager
from itertools import islice

from middleboxes.core.determinants import DeterminantLog
from middleboxes.core.frames import InputEncoder, decode_input, decode_output
from middleboxes.core.inputlog import InputLogger
from middleboxes.core.master import Master
from middleboxes.core.outputlog import OutputLogger, pack_keys
from middleboxes.core.recovery import LiveBuffer, Recovery
from middleboxes.functions import load
from middleboxes.runtime.link import BATCH
from middleboxes.sdk import Port
from middleboxes.sdk.build import ARP_REQUEST, NO_MAC, arp, ipv4, udp
from middleboxes.sdk.packet import UDP, endpoint

from .network import GROUP_ID
from .nodes import NAT, PORTS

#: keys that change between two checkpoints, at most; and fewer, with so many flows
CHANGED_MAX = 10_000
CHANGES, CHANGES_FLOWS = (100, 1000), 100_000
#: cuts of a master before those that count: two seconds of its life
WARM_UP_CUTS = 20
#: cuts that percentiles are of; *rounds* is a multiple of it
SPELL_CUTS = 100
#: more than a processor's own caches hold
CACHES_BYTES = 8 << 20
_MAC = bytes.fromhex("020000000001")
_INSIDE_MAC = bytes.fromhex(PORTS[0]["mac"].replace(":", ""))
_CLIENT, _SERVER, _OUTSIDE = 0x0A000100, 0xC0000201, 0xC00002FE
_FLOWS_PER_ADDRESS = 50_000
_NS = 1_000_000_000
_TLV_BYTES, _CLOCK_ENTRY_BYTES = 4, 9


def nat_master(workers=1):
    """A fresh master of the bench's NAT, which knows the server's MAC."""
    ports = [Port.parse(port["name"], port["mac"], port["address"]) for port in PORTS]
    master = Master(load("nat").instances(NAT, ports, workers), GROUP_ID, _MAC, 1, list(range(1, workers + 1)),
                    unacknowledged_max=1 << 40)
    asking = arp(ARP_REQUEST, _MAC, _SERVER, NO_MAC, _OUTSIDE)
    logger = InputLogger(GROUP_ID, _MAC, 1, 1, 1 << 20)
    master.process(0, decode_input(logger.accept(1, asking, _NS))[2])
    return master


def frames_of(flows, count, frame_bytes=64):
    """*count* frames of *flows* flows in turn, from inside."""
    made = [frame_of(flow, frame_bytes) for flow in range(min(flows, count))]
    return [made[number % flows] for number in range(count)]


def frame_of(flow, frame_bytes=64):
    """A frame of that *flow* (a number), from inside."""
    return ipv4(_INSIDE_MAC, _MAC, UDP, _CLIENT + flow // _FLOWS_PER_ADDRESS, _SERVER,
                udp(_CLIENT, 1024 + flow % _FLOWS_PER_ADDRESS, _SERVER, 40000, bytes(frame_bytes - 42)))


@contextmanager
def no_collector():
    """As in a node."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def live(master, flows, count, first=2):
    """Frames a second that *master* takes, from INPUT frames to OUTPUT frames in batches."""
    encoder, now_ns = InputEncoder(GROUP_ID, _MAC), 2 * _NS
    logged = [encoder.encode(1, 0, (number, now_ns, 0, 0, frame)) for number, frame in enumerate(frames_of(flows, count), first)]
    with no_collector():
        began_ns = time.perf_counter_ns()
        for start in range(0, count, BATCH):
            master.take_all(logged[start:start + BATCH])
        return count * _NS / (time.perf_counter_ns() - began_ns)


def fill(master, flows):
    """Give the NAT *flows* UDP mappings."""
    nat = master.function
    for flow in range(flows):
        open_flow(nat, flow)
    nat.whole_state.check_flows(master.cut().changes)


def open_flow(nat, flow):
    """Give *nat* the UDP mapping of that *flow* (a number); its inside end."""
    address, port = flow // _FLOWS_PER_ADDRESS, 1024 + flow % _FLOWS_PER_ADDRESS
    inside, external = endpoint(UDP, _CLIENT + address, port), endpoint(UDP, nat.external_addresses[address], port)
    nat.outbound[inside] = external
    nat.inbound[external] = inside
    nat.udp_used.touch(inside, _NS)
    return inside


def pauses(flows, rounds, changed=CHANGED_MAX):
    """How long packets wait for a cut, and for each slice of it, with *flows* flows in the NAT of which *changed* changed at most.

    A tenth of a second of traffic and of other processes is between two cuts: each begins with nothing of it in the processor's own caches.
    """
    master, memory, others = nat_master(), bytearray(CACHES_BYTES), bytearray(b"1") * CACHES_BYTES
    fill(master, flows)
    keys, changed = list(islice(master.function.outbound, changed)), min(flows, changed)
    cuts_ns, slices_ns, ends_ns, spells = [], [], [], rounds // SPELL_CUTS
    with no_collector():
        for number in range(WARM_UP_CUTS + rounds):
            if number == WARM_UP_CUTS:
                # the first ones of a process run through code and memory that nothing has touched before
                cuts_ns, slices_ns, ends_ns = [], [], []
            for key in keys:
                master.function.udp_used.touch(key, (number + 2) * _NS)
            memory[:] = others
            began_ns = time.perf_counter_ns()
            cut = master.cut()
            master.state.check_flows(cut.changes)
            cuts_ns.append(time.perf_counter_ns() - began_ns)
            chunks = cut.chunks()
            while True:
                began_ns = time.perf_counter_ns()
                if next(chunks, None) is None:
                    break
                slices_ns.append(time.perf_counter_ns() - began_ns)
            began_ns = time.perf_counter_ns()
            del cut, chunks             # its memory is given back, as when it is durable
            ends_ns.append(time.perf_counter_ns() - began_ns)
    return {"flows": flows, "changed": changed, "live_per_second": live(master, flows, 20_000),
            "pause_p50_us": _part(cuts_ns, 0.5, spells), "pause_p99_us": _part(cuts_ns, 0.99, spells), "slice_p99_us": _part(slices_ns, 0.99, spells),
            "end_p99_us": _part(ends_ns, 0.99, spells)}


def _part(values_ns, part, spells):
    """That part of the values is at most the result (the nearest rank), in us: the median of *spells*, since other load on a machine comes in such."""
    spell = len(values_ns) // spells
    each = [sorted(values_ns[first:first + spell]) for first in range(0, spell * spells, spell)]
    return statistics.median(values[math.ceil(spell * part) - 1] for values in each) / 1000


def replay(count, flows=100):
    """Frames a second in replay, and live in the same process, by a NAT with *flows* flows."""
    master, spare = nat_master(), nat_master()
    logger, plan = InputLogger(GROUP_ID, _MAC, 1, 1, 1 << 40), DeterminantLog(1)
    logged = [logger.accept(0, frame, 2 * _NS) for frame in frames_of(flows, count + 1)][1:]     # input 1 was the ARP request
    for number in range(2, count + 2):
        plan.append(number)
    recovery = Recovery(spare, [count + 1], LiveBuffer())
    recovery.loaded()
    with no_collector():
        began_ns = time.perf_counter_ns()
        # as ever, nearly all outputs left before the failure
        recovery.released(0, pack_keys([number << 16 for number in range(2, count + 2)]))
        recovery.determinants(0, plan.encode(1, 1 << 20)[0], True)
        for start in range(0, count, BATCH):
            recovery.inputs(0, logged[start:start + BATCH], start + BATCH >= count)
            recovery.step(BATCH)
        while recovery.replayed < count:
            recovery.step(BATCH)
        replayed = count * _NS / (time.perf_counter_ns() - began_ns)
    return {"per_second": replayed, "live_per_second": live(master, flows, count)}


def determinants(workers, count=20_000, flows=100):
    """Bytes of determinants and clocks on the wire for each packet, with *workers* workers that take turns as packets come."""
    master = nat_master(workers)
    logger = InputLogger(GROUP_ID, _MAC, workers, 1, 1 << 40)
    sent = 0
    # the ARP request was input 1 of worker 0
    logger.tick(_NS)
    frames = frames_of(flows, count)
    for start in range(0, count, BATCH):
        items = [decode_input(logger.accept(0, frame, 2 * _NS))[1:] for frame in frames[start:start + BATCH]]
        if workers == 1:
            outputs = master.process_all([item for _, item in items])
        else:
            outputs = [output for worker, item in items for output in master.process(worker, item)] + master.flush()
        for output in map(decode_output, outputs):
            sent += len(output.determinants) + _TLV_BYTES * bool(output.determinants)
            sent += len(output.clock) * _CLOCK_ENTRY_BYTES + _TLV_BYTES * bool(output.clock)
            if not output.k:
                sent += len(output.frame)
    return {"workers": workers, "bytes_per_packet": sent / count}


def path(count=BATCH, flows=1, frame_bytes=64):
    """(input logger, master, output logger, *count* packets): the cores of the three roles, as they are once traffic flows."""
    master, outputs = nat_master(), OutputLogger(GROUP_ID, _MAC, 1, 2, 1)
    logger = InputLogger(GROUP_ID, _MAC, 1, 1, 1 << 30)
    # the master had an ARP request as input 1 of step 1
    logger.tick(_NS)
    outputs.trim(1, {0: (1, 1)}, 0)
    frames = frames_of(flows, count, frame_bytes)
    pass_through(logger, master, outputs, frames)
    return logger, master, outputs, frames


def pass_through(logger, master, outputs, frames):
    """One batch of *frames* from port to port: (INPUT frames, OUTPUT frames, what is released)."""
    logged = logger.accept_all(0, frames, 2 * _NS)
    sent = master.take_all(logged)
    return logged, sent, outputs.receive_all(sent)


def function_alone(master, frames):
    """What *master*'s function itself does with *frames*."""
    handle, context = master.function.handle, master.workers[0].context
    for frame in frames:
        context.outputs = []
        handle(frame, context)


def cores(frame_bytes, batches):
    """Time of each role's core for a packet, in ns, and of the master's that of its function: the least of many *batches*, so undisturbed."""
    logger, master, outputs, frames = path(BATCH, BATCH, frame_bytes)
    least = dict.fromkeys(("input_logger_ns", "master_ns", "output_logger_ns", "function_ns"), float("inf"))
    with no_collector():
        for _ in range(batches):
            times = [time.perf_counter_ns()]
            for step in (lambda: logger.accept_all(0, frames, 2 * _NS), lambda: master.take_all(made), lambda: outputs.receive_all(made),
                         lambda: function_alone(master, frames)):
                made = step()
                times.append(time.perf_counter_ns())
            least = {name: min(found, (end - begin) / BATCH)
                     for (name, found), begin, end in zip(least.items(), times, times[1:])}
    return {"frame_bytes": frame_bytes, **least}


def sizes(is_quick):
    """The numbers of flows that are compared."""
    return (1000, 10_000, 100_000) if is_quick else (1000, 10_000, 100_000, 1_000_000)


def everything(is_quick):
    """All tables."""
    rounds = 100 if is_quick else 500
    rows = [pauses(flows, rounds) for flows in sizes(is_quick)] + [pauses(CHANGES_FLOWS, rounds, changed) for changed in CHANGES]
    return {"changed_max": CHANGED_MAX, "pauses": rows,
            "replay": replay(10_000 if is_quick else 50_000), "determinants": [determinants(1), determinants(4)],
            "cores": [cores(frame_bytes, 200 if is_quick else 2000) for frame_bytes in (64, 1500)]}
