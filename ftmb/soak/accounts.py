"""The counters of each hop against those of the next: whatever went in came out, or is counted as lost, by reason. Pure.

Frames pass the network in messages, alone or several in one (middleboxes.core.aggregates), and the network counts messages.

A sample is {"input_logger", "master", "output_logger": the role's counters, "network": see network.py}.

Roles tell their counters at moments of their own, and frames of ticks and checkpoints go on at rest, so what goes in less what
comes out is looked at in many samples at rest. The true difference is that of all samples between which nothing flowed. A frame at
each second beat makes one that is off by one as usual as it: of the usual ones any may be the true one.
"""

from collections import Counter

from middleboxes.core.aggregates import FRAMES_MAX

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
    return (s["input_logger"]["data_messages_sent"] + s["output_logger"]["data_messages_sent"],
            s["master"]["data_messages_received"] + _lost_to_master(s))


def _frames_to_master(s, _workers):
    return s["input_logger"]["data_sent"] + s["output_logger"]["data_sent"], s["master"]["data_inputs"] + s["master"]["data_others"]


def _lost_to_master(s):
    network = s["network"]
    return s["master"]["data_overrun"] + network["input_logger_lost"] + network["output_logger_lost"] + network["master_refused"]


def _processed(s, _workers):
    master = s["master"]
    return master["data_inputs"], sum(master[name] for name in ("steps", "late_inputs", "refused_inputs", "bad_frames"))


def _from_master(s, _workers):
    return (s["master"]["data_messages_sent"],
            s["input_logger"]["data_messages_received"] + s["output_logger"]["data_messages_received"] + _lost_from_master(s))


def _frames_from_master(s, _workers):
    return s["master"]["data_sent"], s["input_logger"]["data_others"] + s["output_logger"]["data_others"]


def _lost_from_master(s):
    network = s["network"]
    return s["input_logger"]["data_overrun"] + network["input_logger_refused"] + _lost_outputs(s)


def _left(s, _workers):
    ol = s["output_logger"]
    return ol["released"], ol["sent"] + ol["send_failed"] + ol["handed_over"]


def _outputs(s, _workers):
    ol = s["output_logger"]
    return s["master"]["outputs"], sum(ol[name] for name in OUTPUTS_END)


def _lost_outputs(s):
    network = s["network"]
    return network["master_lost"] + network["output_logger_refused"] + s["output_logger"]["data_overrun"]


#: what becomes of an output at the output logger
OUTPUTS_END = ("released", "waiting", "duplicates", "covered", "old_epoch", "later_epoch", "bad_frames", "dropped_pending_full", "dropped_at_fence")

#: (what goes in and what comes out, the function that gives both)
EXACT = (
    ("frames from the edge to the input logger = received + overrun at its sockets", _edge),
    ("frames received there = inputs + filtered + oversize", _accepted),
    ("inputs + ticks + repeated = sent to the master + not sent + dropped with the log full", _logged),
    ("messages sent to the master = received + overrun at its sockets + lost on the network", _to_master),
    ("inputs that the master received = steps + late or doubled + of a former input logger + bad", _processed),
    ("messages that the master sent = received by the loggers + overrun at their sockets + lost on the network", _from_master),
    ("outputs released = sent to the edge + not sent + handed over", _left),
)

#: the same, and the messages that were lost, each of which had FRAMES_MAX of them at most
WITH_LOSSES = (
    ("frames sent to the master = received + lost", _frames_to_master, _lost_to_master),
    ("frames that the master sent = received by the loggers + lost", _frames_from_master, _lost_from_master),
    ("outputs of the master = released + waiting + dropped, by reason + lost", _outputs, _lost_outputs),
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
    for text, both, lost_messages in WITH_LOSSES:
        differences = _differences(before, after, both, workers)
        if not differences:
            found.append(f"{text}: {_NOT_AT_REST}")
            continue
        allowed = FRAMES_MAX * (lost_messages(after[-1]) - lost_messages(before[-1]))
        lost = min(differences, key=lambda lost: max(-lost, lost - allowed))
        total = both(after[-1], workers)[0] - both(before[-1], workers)[0]
        lines.append(f"{text}: {total}, {lost} of them lost; the network's losses explain up to {allowed}")
        if not 0 <= lost <= allowed:
            found.append(f"{text}: {lost} of {total} are missing, and the network's losses explain up to {allowed}")
    return lines, found


def _differences(before, after, both, workers):
    """What may have gone in and not come out from *before* until *after*."""
    return {last - first for last in _usual(after, both, workers) for first in _usual(before, both, workers)}


def _usual(samples, both, workers):
    """What goes in less what comes out in at least a quarter of *samples*."""
    counts = Counter(into - out for into, out in (both(sample, workers) for sample in samples))
    return [difference for difference, count in counts.items() if count >= len(samples) / 4]
