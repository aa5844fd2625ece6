"""The Ryu app where it is more than a connection between others."""

import logging

import web  # noqa: F401 (it makes Ryu's web server load)

from ryu_app.app import FtmbController
from ryu_app.switches import Barrier, Done


def test_an_error_of_ours_is_told_and_costs_no_agent_its_connection(caplog):
    """The thread that reads from an agent calls it: an error that got through would end that agent's connection, and fail it over."""
    app = FtmbController.__new__(FtmbController)
    app.logger, acted = logging.getLogger("ftmb"), []
    app._act = acted.append
    app._from_agent(lambda: {}["a fact that is not there"])
    assert "a fact that is not there" in caplog.text and not acted
    app._from_agent(lambda: ["an action"])
    assert acted == [["an action"]]


def test_what_a_finished_steering_leads_to_goes_after_what_was_decided_with_it():
    """Deletions come last: an entry that the next steering adds again must not be deleted by them."""
    app, happened = FtmbController.__new__(FtmbController), []

    class Link:
        asked = set()

        @staticmethod
        def send(messages):
            happened.append("sent")
            return [1 for _ in messages]
    app._links, app._messages, app._done = {"s1": Link}, lambda link, command: [(command, "")], happened.append
    app._command([Done(7), Barrier("s1", 1)])
    assert happened == ["sent", 7]
