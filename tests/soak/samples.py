"""Samples of a soak as the roles and the network tell them, consistent until a test changes one number."""

from copy import deepcopy

DATA = {"data_inputs": 0, "data_others": 0, "data_sent": 0, "data_send_failed": 0, "data_oversize": 0, "data_overrun": 0,
        "data_messages_sent": 0, "data_messages_received": 0, "data_malformed": 0}


def counters():
    """1,000 packets from the edge, 10 ticks, 90 drops at a full log, nothing lost on the way."""
    input_logger = {**DATA, "inputs": 995, "ticks": 10, "repeated": 7, "dropped_log_full": 90, "received": 998, "overrun": 2,
                    "filtered": 3, "oversize": 0, "log_bytes": 5000, "data_sent": 922, "data_others": 40,
                    "data_messages_sent": 150, "data_messages_received": 40}
    master = {**DATA, "steps": 915, "late_inputs": 7, "refused_inputs": 0, "bad_frames": 0, "outputs": 890, "data_inputs": 922,
              "data_others": 60, "data_sent": 990, "data_messages_sent": 190, "data_messages_received": 210, "unacknowledged": 12, "undurable": 300}
    output_logger = {**DATA, "released": 890, "waiting": 0, "duplicates": 0, "covered": 0, "old_epoch": 0, "later_epoch": 0, "bad_frames": 0,
                     "dropped_pending_full": 0, "dropped_at_fence": 0, "sent": 890, "send_failed": 0, "handed_over": 0,
                     "data_others": 950, "data_sent": 60, "data_messages_sent": 60, "data_messages_received": 150, "determinants": 1, "remembered": 250}
    return {"input_logger": input_logger, "master": master, "output_logger": output_logger, "store": {"checkpoint_bytes": 500}}


def network():
    """What the network counts to go with it."""
    return {"edge": 1000, **{f"{hop}_{what}": 0 for hop in ("input_logger", "master", "output_logger") for what in ("lost", "refused")}}


def sample(**changes):
    """The counters and the network's, with *changes*: role__counter=value to add."""
    return _changed({**counters(), "network": network()}, changes)


def zero(**changes):
    """The same before any traffic."""
    found = deepcopy({**counters(), "network": network()})
    return _changed({role: dict.fromkeys(values, 0) for role, values in found.items()}, changes)


def _changed(found, changes):
    for name, value in changes.items():
        role, counter = name.split("__")
        found[role][counter] += value
    return found
