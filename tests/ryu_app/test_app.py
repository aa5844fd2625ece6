"""The Ryu app where it is more than a connection between others."""

import logging

import web  # noqa: F401 (it makes Ryu's web server load)

from ryu_app.app import FtmbController


def test_an_error_of_ours_is_told_and_costs_no_agent_its_connection(caplog):
    """The thread that reads from an agent calls it: an error that got through would end that agent's connection, and fail it over."""
    app = FtmbController.__new__(FtmbController)
    app.logger, acted = logging.getLogger("ftmb"), []
    app._act = acted.append
    app._from_agent(lambda: {}["a fact that is not there"])
    assert "a fact that is not there" in caplog.text and not acted
    app._from_agent(lambda: ["an action"])
    assert acted == [["an action"]]
