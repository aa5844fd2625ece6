"""The Ryu app where it is more than a connection between others."""

import logging

import pytest
import web  # noqa: F401 (it makes Ryu's web server load)
from deployments import single
from ryu.controller import ofp_event
from ryu.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER
from ryu.ofproto import ofproto_v1_3, ofproto_v1_3_parser

from ryu_app import app as app_module
from ryu_app.app import FtmbController
from ryu_app.controller import Controller
from ryu_app.deployment import parse
from ryu_app.events import EventLog
from ryu_app.switches import Barrier, Done, Switches

LIVE, DOWN = ofproto_v1_3.OFPPS_LIVE, ofproto_v1_3.OFPPS_LINK_DOWN


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


def _app():
    """The app for a network with one switch, s1, without Ryu."""
    app = FtmbController.__new__(FtmbController)
    app.deployment = parse(single())
    app.core, app._names, app._trunks, app._seen_live = Controller(app.deployment), {1: "s1"}, frozenset(), set()
    app._links, app._early, app._ports, app._log, app.logger = {}, {}, {}, EventLog(), logging.getLogger("ftmb")
    app.fabric = Switches(app.deployment)
    app._acted = []
    app._act = app._acted.append
    app._handlers = {ofp_event.EventOFPPortStatus: app._port_changed}
    return app


class Datapath:
    id, ofproto, ofproto_parser, state = 1, ofproto_v1_3, ofproto_v1_3_parser, MAIN_DISPATCHER

    def close(self):
        self.state = DEAD_DISPATCHER


def _status(datapath, number, state):
    """The event that port *number* is in *state* now."""
    port = ofproto_v1_3_parser.OFPPort(number, "02:00:00:00:00:01", b"p", 0, state, 0, 0, 0, 0, 0, 0)
    return ofp_event.EventOFPPortStatus(ofproto_v1_3_parser.OFPPortStatus(datapath, reason=ofproto_v1_3.OFPPR_MODIFY, desc=port))


@pytest.mark.parametrize("states, up", [
    ([LIVE, 0], False), ([LIVE, 0, DOWN], False), ([LIVE, 0, DOWN, LIVE], True), ([0], True), ([DOWN, 0], True), ([0, DOWN], False)])
def test_a_port_that_was_live_and_is_no_more_is_down_and_of_others_the_link_tells(states, up):
    """Open vSwitch tells of a lost link twice, and first that the port is not live; other switches never tell that."""
    app, datapath = _app(), Datapath()
    assert [app._is_up(datapath, _status(datapath, 3, state).msg.desc) for state in states][-1] is up


def test_what_a_switch_tells_before_its_turn_is_taken_then_in_order(monkeypatch):
    monkeypatch.setattr(app_module, "QUEUE_MAX", 3)
    app, datapath = _app(), Datapath()
    place = app.deployment.nodes["m1"].data.place
    app._ports[1] = {place.port: True}
    for state in (DOWN, 0, DOWN):
        app._told(_status(datapath, place.port, state))
    assert not app._acted and place not in app.core.context.down and datapath.state == MAIN_DISPATCHER
    app._state_changed(type("StateChange", (), {"datapath": datapath, "state": MAIN_DISPATCHER}))
    assert place in app.core.context.down and not app._early
    app._links.pop("s1").stop()


def test_a_switch_that_tells_too_much_before_its_turn_loses_its_connection(monkeypatch, caplog):
    monkeypatch.setattr(app_module, "QUEUE_MAX", 3)
    app, datapath = _app(), Datapath()
    for _ in range(5):
        app._told(_status(datapath, 3, 0))
    assert datapath.state == DEAD_DISPATCHER and len(app._early[datapath]) == 3
    assert caplog.text.count("connection closed") == 1
    app._state_changed(type("StateChange", (), {"datapath": datapath, "state": DEAD_DISPATCHER}))
    assert not app._early


def test_an_error_of_ours_is_told_and_costs_no_switch_its_connection(caplog):
    app, datapath = _app(), Datapath()
    app._links["s1"] = type("Link", (), {"datapath": datapath})
    app._told(_status(datapath, 3, 0))
    assert "handling what a switch told failed" in caplog.text
