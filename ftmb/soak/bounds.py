"""The stated bounds of memory, and what was seen against them. Pure.

Queues and logs have bounds in the code; resident memory follows from them with what an entry takes in Python:

    role           holds at most                                                    bytes an entry
    input logger   log_bytes_max of inputs                                          1.5 times what the log counts
    master         unacknowledged_max steps, and changes of state since its cut     250 a step
    output logger  WAITING_MAX outputs; a determinant and a key for each output     2,000 an output, 450 a step
                   since the last durable checkpoint, of which there are no more
                   than inputs in the log
    store          one checkpoint, folded, and one under way                        3 times its state

Each process besides has SLACK_BYTES for batches, buffers of connections and what the allocator keeps, beside the memory that a node has ready
(middleboxes.runtime.memory): that is resident from the start, and growth into it is not seen.
"""

import statistics

from middleboxes.core.inputlog import _ENTRY_BYTES as LOGGED_BYTES_MIN
from middleboxes.core.master import UNDURABLE_MAX

WAITING_MAX = 4096
DETERMINANT_ITEMS_MAX = 1 << 20
UNACKNOWLEDGED_MAX = 65536

_LOG_FACTOR = 1.5
_STEP_BYTES, _KEY_BYTES, _OUTPUT_BYTES = 250, 200, 2000
SLACK_BYTES = 8 << 20

#: what must come back to where it was: (role, counter, what is too small to matter)
_RETURNING = (("input_logger", "log_bytes", 1 << 20), ("output_logger", "waiting", 64), ("output_logger", "remembered", 2000),
              ("master", "unacknowledged", 500), ("master", "undurable", 2000))

def limits(log_bytes_max, workers):
    """{(role, counter): its bound}."""
    return {("input_logger", "log_bytes"): log_bytes_max,
            ("output_logger", "waiting"): WAITING_MAX,
            ("output_logger", "determinants"): workers * DETERMINANT_ITEMS_MAX,
            ("master", "unacknowledged"): UNACKNOWLEDGED_MAX,
            ("master", "undurable"): UNDURABLE_MAX}

def resident_growth(log_bytes_max, workers, state_bytes):
    """{role: bytes that its process may grow by}; *state_bytes*: the largest checkpoint seen."""
    steps = log_bytes_max // LOGGED_BYTES_MIN
    return {"input_logger": int(log_bytes_max * _LOG_FACTOR) + SLACK_BYTES,
            "master": workers * UNACKNOWLEDGED_MAX * _STEP_BYTES + 3 * state_bytes + SLACK_BYTES,
            "output_logger": WAITING_MAX * _OUTPUT_BYTES + steps * (_STEP_BYTES + _KEY_BYTES) + SLACK_BYTES,
            "store": 3 * state_bytes + SLACK_BYTES}

def check(samples, log_bytes_max, workers):
    """Violations in *samples* [(phase, {role: counters}, {role: resident bytes})]; phases "idle", "before", "stopped", "after"."""
    found = []
    allowed = limits(log_bytes_max, workers)
    for (role, counter), limit in allowed.items():
        highest = max(roles[role][counter] for _, roles, _ in samples)
        if highest > limit:
            found.append(f"{counter} of the {role} reached {highest}, the bound is {limit}")
    idle = next(resident for phase, _, resident in samples if phase == "idle")
    state_bytes = max(roles["store"]["checkpoint_bytes"] for _, roles, _ in samples)
    for role, growth in resident_growth(log_bytes_max, workers, state_bytes).items():
        highest = max(resident[role] for _, _, resident in samples)
        if highest > idle[role] + growth:
            found.append(f"the process of the {role} reached {highest} resident bytes: {idle[role]} idle + {growth} stated")
    return found + _came_back(samples) + _was_reached(samples)

def _phase(samples, name):
    return [roles for phase, roles, _ in samples if phase == name]

def _came_back(samples):
    """Whether all is near the level before, once the store is back for a while."""
    before, after = _phase(samples, "before"), _phase(samples, "after")
    found = []
    for role, counter, little in _RETURNING:
        level = max(roles[role][counter] for roles in before)
        now = statistics.median(roles[role][counter] for roles in after[len(after) // 2:])
        if now > 2 * level + little:
            found.append(f"{counter} of the {role} stays at {now:.0f} after the store is back; it was at most {level} before")
    return found

def _was_reached(samples):
    """Whether the stop did what it is for: a full log, counted drops."""
    stopped = _phase(samples, "stopped")
    first, last = (roles["input_logger"]["dropped_log_full"] for roles in (stopped[0], stopped[-1]))
    return [] if last > first else ["the input log was never full while the store was stopped: the bound was not tried"]
