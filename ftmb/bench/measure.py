"""Rounds of measurements: in each, one system after the other under the same traffic, so that ratios are of neighbours in time."""

import statistics
import time

from ..emulator.processes import cpu_ns
from . import systems
from .programs import traffic

FRAMES_BYTES = (64, 512, 1500)
FLOWS = 100
#: frames under way when throughput is measured: enough that every hop works in batches
WINDOW = 512
#: the rate of latency measurements, as a part of protected's throughput
MODERATE = 0.5
_RATE_MIN = 1000
#: flows are opened at so many times the rate that is measured, and at so many a second at least
_OPENING = 2
_OPENING_PPS = 20_000
#: see checkpoints_and_latency
OFF_FLOWS_MAX = 500_000
_SETTLE_S = 0.3


def capacity(wire, running, frame_bytes, seconds, flows=FLOWS):
    """Throughput with a full window: frames a second received and CPU us for each, by role and of the traffic itself."""
    result, cpu_us = _traffic(wire, running, frame_bytes, flows, "window", WINDOW, seconds)
    return {"per_second": result["per_second"], "received": result["received"], "lost": max(0, result["sent"] - result["received"]),
            "cpu_us": cpu_us, "traffic_cpu_us": result["cpu_us"]}


def _traffic(wire, running, frame_bytes, flows, mode, amount, seconds):
    """(what ``traffic`` gives, {role: CPU us for each frame that arrived})."""
    before = {role: cpu_ns(pid) for role, pid in running.pids.items()}
    result = traffic(wire, running.link, frame_bytes, flows, mode, amount, seconds)
    received = max(1, result["received"])
    return result, {role: (cpu_ns(pid) - before[role]) / 1000 / received for role, pid in running.pids.items()}


def latency(wire, running, frame_bytes, rate, seconds, flows=FLOWS):
    """One-way latency at *rate* frames a second: percentiles in us, frames lost, and CPU us for each by role and of the traffic itself."""
    result, cpu_us = _traffic(wire, running, frame_bytes, flows, "rate", max(_RATE_MIN, int(rate)), seconds)
    return {"rate": rate, "lost": max(0, result["sent"] - result["received"]), "cpu_us": cpu_us,
            "traffic_cpu_us": result["cpu_us"], **{name: result[name] for name in ("p50_us", "p99_us", "p999_us", "max_us")}}


def one_round(wire, names, seconds, frames_bytes, rates, progress):
    """{system: {frame bytes: measurements}}; *rates*, {frame bytes: frames a second}, is filled in where it is not known."""
    found = {}
    # protected first: the rate of everybody's latency is a part of its throughput
    for name in sorted(names, key=lambda name: name != "protected"):
        with systems.ALL[name](wire) as running:
            time.sleep(_SETTLE_S)
            for frame_bytes in frames_bytes:
                result = capacity(wire, running, frame_bytes, seconds)
                rate = rates.setdefault(frame_bytes, result["per_second"] * MODERATE)
                result["latency"] = latency(wire, running, frame_bytes, rate, seconds)
                found.setdefault(name, {})[frame_bytes] = result
                progress(f"{name:10} {frame_bytes:5} bytes  {result['per_second']:8.0f} packets/s,"
                         f" {result['latency']['p50_us']:6.0f} us")
    return found


def medians(rounds):
    """The measurements of several rounds as one: the median of each number."""
    first = rounds[0]
    if isinstance(first, dict):
        return {key: medians([item[key] for item in rounds]) for key in first}
    return statistics.median(rounds)


def ratios(rounds, frame_bytes):
    """What is judged, for one size: each the median of the rounds' own ratios, None where a system was not measured."""
    def of(one, name):
        return one[name][frame_bytes]

    def total_cpu_us(one, name):
        return sum(of(one, name)["cpu_us"].values()) + of(one, name)["traffic_cpu_us"]

    def median(of_round):
        return statistics.median(map(of_round, rounds))

    return {
        "throughput_of_limit": median(lambda one: of(one, "protected")["per_second"] / of(one, "limit")["per_second"]),
        # of all processes that packets pass: what throughput would be where only processors limit it
        "cpu_of_limit": median(lambda one: total_cpu_us(one, "limit") / total_cpu_us(one, "protected")),
        "master_cpu_to_plain": median(lambda one: of(one, "protected")["cpu_us"]["master"] / of(one, "plain")["cpu_us"]["master"]),
        "latency_p50_to_limit": median(lambda one: of(one, "protected")["latency"]["p50_us"] / of(one, "limit")["latency"]["p50_us"]),
        "latency_p50_to_awake_limit": median(lambda one: of(one, "protected")["latency"]["p50_us"] / of(one, "limit-awake")["latency"]["p50_us"])
        if "limit-awake" in rounds[0] else None,
        "latency_p999_to_limit": median(lambda one: of(one, "protected")["latency"]["p999_us"] / of(one, "limit")["latency"]["p999_us"]),
    }


def checkpoints_and_latency(wire, rate, seconds, flows, rounds):
    """Latency and CPU time of *flows* flows with checkpoints and without, in turns.

    {"flows", "rate", "on", "off": as ``latency``, "ratio": of the p99.9, "cpu_us": per packet at full load, with checkpoints},
    medians of *rounds*. With more than OFF_FLOWS_MAX flows there is no "off" and no "ratio" (None): a master stops when no
    checkpoint becomes durable for about a million packets, and opening them takes as many.
    """
    ways = {"on": systems.CHECKPOINT_INTERVAL_MS}
    if flows <= OFF_FLOWS_MAX:
        ways["off"] = systems.NO_CHECKPOINTS_MS
    found, full = {name: [] for name in ways}, []
    for _ in range(rounds):
        for name, interval_ms in ways.items():
            with systems.protected(wire, interval_ms) as running:
                # once through all flows first: opening them is not what is measured
                opening = max(int(_OPENING * rate), _OPENING_PPS)
                traffic(wire, running.link, FRAMES_BYTES[0], flows, "rate", opening, 1.2 * flows / opening)
                found[name].append(latency(wire, running, FRAMES_BYTES[0], rate, seconds, flows))
                if name == "on":
                    full.append(capacity(wire, running, FRAMES_BYTES[0], seconds, flows)["cpu_us"])
    ratios = [on["p999_us"] / off["p999_us"] for on, off in zip(found["on"], found.get("off", ())) if off["p999_us"]]
    return {"flows": flows, "rate": rate, "on": medians(found["on"]), "off": medians(found["off"]) if "off" in found else None,
            "ratio": statistics.median(ratios) if ratios else None, "cpu_us": medians(full)}


def idle_percent(wire, seconds):
    """CPU time of all roles together without traffic, in percent of one processor."""
    with systems.protected(wire) as running:
        time.sleep(_SETTLE_S)
        before = {pid: cpu_ns(pid) for pid in running.pids.values()}
        began_ns = time.monotonic_ns()
        running.nodes.serve(seconds)
        used = sum(cpu_ns(pid) - spent for pid, spent in before.items())
        return 100 * used / (time.monotonic_ns() - began_ns)
