"""Waiting until every group is protected, or saying what is missing."""

import time

from ..errors import UsageError

PROTECTED_TIMEOUT_S = 30
_POLL_S = 0.05


def wait_protected(fetch, processes, timeout_s=PROTECTED_TIMEOUT_S, clock=time.monotonic, sleep=time.sleep):
    """Wait until *fetch* () tells that all groups are protected; its last answer.

    Raises UsageError when one of *processes* ends or after *timeout_s*, with the ends of the logs.
    """
    deadline = clock() + timeout_s
    while True:
        check_running(processes)
        status = fetch()
        if status is not None and all(group["state"] == "protected" for group in status["groups"]):
            return status
        if clock() > deadline:
            raise UsageError(f"not every group is protected after {timeout_s:g} s: {_missing(status)}\n"
                             f"the end of the controller's log:\n{processes[0].log_tail()}")
        sleep(_POLL_S)      # the controller answers, it does not tell by itself


def check_running(processes):
    """Raises UsageError, with the end of its log, when one of *processes* has ended."""
    for process in processes:
        if process.exit_code() is not None:
            raise UsageError(f"{process.name} ended (exit code {process.exit_code()}); the end of its log:\n"
                             f"{process.log_tail()}")


def _missing(status):
    if status is None:
        return "the controller does not answer GET /ftmb/status"
    parts = []
    for group in status["groups"]:
        if group["state"] != "protected":
            lacking = [role for role in ("master", "input_logger", "output_logger", "store") if not group[role]]
            lacking += [] if group["spares"] else ["spare"]
            parts.append(f"group {group['name']} is {group['state']}" + (f", without {', '.join(lacking)}" if lacking else ""))
    return "; ".join(parts)
