"""What ``ftmb replay`` says: a step, a packet, the result; in words and as JSON data."""

import time

from middleboxes.replay.state import plain
from middleboxes.sdk import Packet, Packet6, address_text
from middleboxes.sdk.packet import ICMP, TCP, UDP
from middleboxes.sdk.packet6 import ETHERTYPE_IPV6, ICMPV6

_PROTOCOLS = {ICMP: "ICMP", TCP: "TCP", UDP: "UDP", ICMPV6: "ICMPv6"}
_VALUE_CHARS_MAX = 160
_PHASES = {"recovered": "", "later": "  (of the master that went on)", "new": "  (new: no determinant)"}


def _address(address, port=None):
    return address_text(address) if port is None else f"{address_text(address)}:{port}"


def packet(frame):
    """One line about a *frame* (bytes)."""
    view = Packet(frame)
    what = f"{len(frame)} bytes"
    if len(frame) < 14:
        return f"{what} {frame.hex()}"
    arp, ether_type = view.arp(), view.ether_type
    if ether_type == ETHERTYPE_IPV6:
        view = Packet6(frame)
        header = view.ipv6()
    else:
        header = view.ipv4()
    if arp is not None:
        kind = {1: "request", 2: "reply"}.get(arp.operation, f"operation {arp.operation}")
        return f"{what} ARP {kind} {_address(arp.sender)} > {_address(arp.target)}"
    if header is None:
        return f"{what} Ethernet type 0x{ether_type:04x}"
    name = _PROTOCOLS.get(header.protocol, f"IP protocol {header.protocol}")
    flow = view.five_tuple()
    if flow is None:
        return f"{what} {name} {_address(header.source)} > {_address(header.destination)}"
    _, source, source_port, destination, destination_port = flow
    return f"{what} {name} {_address(source, source_port)} > {_address(destination, destination_port)}"


def _time(now_ns):
    seconds, ns = divmod(now_ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(seconds))}.{ns:09d}"


def _value(value):
    text = repr(value)
    return text if len(text) <= _VALUE_CHARS_MAX else f"{text[:_VALUE_CHARS_MAX]}..."


def step_lines(step):
    """A Step in words."""
    what = "tick" if step.is_tick else f"{step.port}: {packet(step.frame)}"
    yield f"{step.worker}:{step.k}  input {step.n}  {_time(step.now_ns)}  {what}{_PHASES[step.phase]}"
    for domain, version, worker, k in step.accesses:
        yield f"    took shared state {domain} (version {version}) after step {worker}:{k}"
    if step.records:
        yield f"    {len(step.records)} recorded value(s)"
    for port, frame in step.outputs:
        yield f"    out {port}: {packet(frame)}"
    for name, (removed, changed) in step.changes.items():
        for key in removed:
            yield f"    {name}: - {_value(key)}"
        for key, value in changed.items():
            yield f"    {name}: = {_value(value)}" if key is None else f"    {name}: {_value(key)} = {_value(value)}"
    if step.error is not None:
        yield from (f"    {line}" for line in step.traceback.splitlines())


def step_data(step):
    """A Step as JSON data."""
    return {"worker": step.worker, "k": step.k, "n": step.n, "port": step.port or None, "now_ns": step.now_ns, "frame": step.frame.hex(),
            "phase": step.phase, "accesses": plain(step.accesses), "records": len(step.records),
            "outputs": [{"port": port, "frame": frame.hex()} for port, frame in step.outputs],
            "changes": {name: {"removed": plain(removed), "set": plain(changed)} for name, (removed, changed) in step.changes.items()},
            "error": None if step.error is None else f"{type(step.error).__name__}: {step.error}", "traceback": step.traceback or None}


def head_lines(path, bundle):
    """What the bundle is of."""
    workers = "1 worker" if bundle.workers == 1 else f"{bundle.workers} workers"
    left = f", left by {bundle.node} at {_time(bundle.created_ns)[:19]} UTC" if bundle.node else ""
    yield f"{path}: {bundle.cause} of group {bundle.group} ({bundle.function}, {workers}), epoch {bundle.epoch}{left}"
    if bundle.detail:
        yield f"  {bundle.detail}"
    for worker, ((n, k), stored) in enumerate(zip(bundle.header["positions"], bundle.recoverable)):
        name = "" if bundle.workers == 1 else f"worker {worker}: "
        to = f", its result at {bundle.result_header['positions'][worker][1]}" if bundle.result_header else ""
        yield f"  {name}checkpoint at step {k} (input {n}), the recoverable prefix ends at step {stored}{to}; {len(bundle.inputs[worker])} inputs"
    if bundle.result_header is None:
        yield "  no master came as far as a checkpoint: inputs beyond the recoverable prefix are replayed as new ones"


def result(replay, watch, ended):
    """The result as JSON data. *ended*: why it did not go to its end, or None."""
    bundle = replay.bundle
    return {
        "group": bundle.group, "function": bundle.function, "workers": bundle.workers, "epoch": bundle.epoch, "cause": bundle.cause,
        "recoverable": bundle.recoverable, "positions": [list(position) for position in replay.positions],
        "steps": replay.steps, "recovered_steps": watch.phases["recovered"], "later_steps": watch.phases["later"],
        "new_steps": watch.phases["new"], "outputs": replay.outputs, "outputs_digest": watch.digest, "state_digest": replay.digest,
        "function_errors": replay.error_count,
        "errors": [{"worker": step.worker, "k": step.k, "n": step.n, "error": f"{type(step.error).__name__}: {step.error}",
                    "traceback": step.traceback} for step in replay.errors],
        "compared": replay.compared, "differences": replay.differences, "difference_count": replay.difference_count, "ended": ended}


def result_lines(found):
    """The result in words; tracebacks of the first error at each place."""
    yield (f"replayed {found['steps']} steps: {found['recovered_steps']} of the recoverable prefix, {found['later_steps']} of the master"
           f" that went on, {found['new_steps']} new; {found['outputs']} outputs")
    yield f"state at {', '.join(f'{worker}:{k}' for worker, (_, k) in enumerate(found['positions']))}: SHA-256 {found['state_digest']}"
    if found["function_errors"]:
        yield f"{found['function_errors']} step(s) raised:"
    told = set()
    for error in found["errors"]:
        yield f"  {error['worker']}:{error['k']} (input {error['n']}): {error['error']}"
        lines = error["traceback"].splitlines()
        if tuple(lines[:-1]) not in told:
            told.add(tuple(lines[:-1]))
            yield from (f"    {line}" for line in lines)
    for line in found["differences"]:
        yield f"differs: {line}"
    if found["difference_count"] > len(found["differences"]):
        yield f"and {found['difference_count'] - len(found['differences'])} more"


def held(found):
    """Whether it held."""
    return not (found["ended"] or found["difference_count"] or found.get("deterministic") is False
                or found.get("other_function") and found["function_errors"])


def verdict(found):
    """One line: whether it held, and by what."""
    if found["ended"]:
        return f"It did not hold: {found['ended']}"
    if found["difference_count"]:
        return "It did not hold: the replay is not what happened."
    if found.get("other_function"):
        return "It held: the function given took every step." if held(found) else "It did not hold: the function given raises, too."
    if not held(found):
        return "It did not hold: two replays differ, the function is not deterministic."
    parts = ["two replays were the same"] if found.get("deterministic") else []
    if found["compared"]:
        parts.append("the state is that of the master that went on")
    return f"It held: {', '.join(parts) or 'nothing contradicts the bundle so far'}."
