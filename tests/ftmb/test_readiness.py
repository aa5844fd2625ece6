"""Waiting for protection ends with protection, with a dead process, or with what is missing."""

import pytest

from ftmb.emulator.readiness import wait_protected
from ftmb.errors import UsageError


class FakeProcess:
    name = "controller"

    def __init__(self, code=None):
        self.code = code

    def exit_code(self):
        return self.code

    def log_tail(self):
        return "    last words"


def wait(answers, process=None):
    """Run wait_protected on *answers*, the last one for ever; time passes with each sleep."""
    passed = [0.0]
    answers = list(answers)

    def sleep(seconds):
        passed[0] += seconds
    return wait_protected(lambda: answers.pop(0) if len(answers) > 1 else answers[0], [process or FakeProcess()],
                          timeout_s=1, clock=lambda: passed[0], sleep=sleep)


def status(state, **changes):
    return {"groups": [{"name": "nat", "state": state, "master": "m1", "input_logger": "il", "output_logger": "ol",
                        "store": "st", "spares": ["m2"], **changes}]}


def test_returns_the_first_answer_in_which_all_are_protected():
    assert wait([None, status("unprotected"), status("protected")]) == status("protected")


def test_a_dead_process_ends_it_with_its_log():
    with pytest.raises(UsageError, match=r"controller ended \(exit code 1\)(.|\n)*last words"):
        wait([None], FakeProcess(1))


def test_the_deadline_names_what_is_missing():
    with pytest.raises(UsageError, match="after 1 s: group nat is unprotected, without store, spare\n"):
        wait([status("unprotected", store=None, spares=[])])
    with pytest.raises(UsageError, match="the controller does not answer GET /ftmb/status"):
        wait([None])
