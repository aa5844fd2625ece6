"""The counters of each hop against those of the next: whatever went in came out, or is counted as lost, by reason. Pure.

A sample is {"input_logger", "master", "output_logger": the role's counters, "network": see network.py}.

Roles tell their counters at moments of their own, and frames of ticks and checkpoints go on at rest, so what goes in less what
comes out is looked at in many samples at rest. The true difference is that of all samples between which nothing flowed. A frame at
each second beat makes one that is off by one as usual as it: of the usual ones any may be the true one.
"""

from collections import Counter

#: the hops that inputs and outputs pass
HOPS = ("input_logger", "master", "output_logger")


def _edge(s, _workers):
    return s["network"]["edge"], s["input_logger"]["received"] + s["input_logger"]["overrun"]


def _accepted(s, _workers):
    il = s["input_logger"]
    return il["received"], il["inputs"] + il["filtered"] + il["oversize"]


def _logged(s, workers):
    il = s["input_logger"]
    return (il["inputs"] + workers * il["ticks"] + il["repeated"],
            il["data_sent"] + il["data_send_failed"] + il["dropped_log_full"])


def _to_master(s, _workers):
    il, ol, master, network = s["input_logger"], s["output_logger"], s["master"], s["network"]
    return (il["data_sent"] + ol["data_sent"],
            master["data_inputs"] + master["data_others"] + master["data_overrun"]
            + network["input_logger_lost"] + network["output_logger_lost"] + network["master_refused"])


def _processed(s, _workers):
    master = s["master"]
    return master["data_inputs"], sum(master[name] for name in ("steps", "late_inputs", "refused_inputs", "bad_frames"))


def _from_master(s, _workers):
    il, ol, master, network = s["input_logger"], s["output_logger"], s["master"], s["network"]
    return (master["data_sent"], il["data_others"] + il["data_overrun"] + ol["data_others"] + ol["data_overrun"]
            + network["master_lost"] + network["input_logger_refused"] + network["output_logger_refused"])


def _left(s, _workers):
    ol = s["output_logger"]
    return ol["released"], ol["sent"] + ol["send_failed"] + ol["handed_over"]


def _outputs(s, _workers):
    ol = s["output_logger"]
    return s["master"]["outputs"], sum(ol[name] for name in OUTPUTS_END)


#: what becomes of an output at the output logger
OUTPUTS_END = ("released", "waiting", "duplicates", "covered", "old_epoch", "later_epoch", "bad_frames", "dropped_pending_full", "dropped_at_fence")

#: (what goes in and what comes out, the function that gives both)
EXACT = (
    ("frames from the edge to the input logger = received + overrun at its sockets", _edge),
    ("frames received there = inputs + filtered + oversize", _accepted),
    ("inputs + ticks + repeated = sent to the master + not sent + dropped with the log full", _logged),
    ("frames sent to the master = received + overrun at its sockets + lost on the network", _to_master),
    ("inputs that the master received = steps + late or doubled + of a former input logger + bad", _processed),
    ("frames that the master sent = received by the loggers + overrun at their sockets + lost on the network", _from_master),
    ("outputs released = sent to the edge + not sent + handed over", _left),
)


_NOT_AT_REST = "the counters are not at rest, so nothing can be said"


def check(before, after, workers):
    """(lines of the account, violations) from samples at rest *before* the traffic and *after* it."""
    lines, found = [], []
    for text, both in EXACT:
        differences = _differences(before, after, both, workers)
        if not differences:
            found.append(f"{text}: {_NOT_AT_REST}")
            continue
        difference = min(differences, key=abs)
        total = both(after[-1], workers)[0] - both(before[-1], workers)[0]
        lines.append(f"{text}: {total}" + (f", {difference} unexplained" if difference else ""))
        if difference:
            found.append(f"{text}: {difference} of {total} are not accounted for")
    text = "outputs of the master = released + waiting + dropped, by reason + lost on the network"
    allowed, differences = _lost_frames(before, after), _differences(before, after, _outputs, workers)
    if not differences:
        return lines, [*found, f"{text}: {_NOT_AT_REST}"]
    lost = min(differences, key=lambda lost: max(-lost, lost - allowed))
    total = after[-1]["master"]["outputs"] - before[-1]["master"]["outputs"]
    lines.append(f"{text}: {total}, {lost} of them lost; the network counts {allowed} frames of the master lost")
    if not 0 <= lost <= allowed:
        found.append(f"{text}: {lost} of {total} are missing, and the network counts {allowed} frames lost")
    return lines, found


def _differences(before, after, both, workers):
    """What may have gone in and not come out from *before* until *after*."""
    return {last - first for last in _usual(after, both, workers) for first in _usual(before, both, workers)}


def _usual(samples, both, workers):
    """What goes in less what comes out in at least a quarter of *samples*."""
    counts = Counter(into - out for into, out in (both(sample, workers) for sample in samples))
    return [difference for difference, count in counts.items() if count >= len(samples) / 4]


def _lost_frames(before, after):
    """Frames of the master that the network or the output logger's socket lost."""
    def count(s):
        network = s["network"]
        return network["master_lost"] + network["output_logger_refused"] + s["output_logger"]["data_overrun"]
    return count(after[-1]) - count(before[-1])
