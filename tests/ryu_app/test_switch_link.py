"""What goes to a switch: at once where nothing waits, in order, and without ever making the controller wait."""

import eventlet
import pytest
import web  # noqa: F401 (it makes Ryu's web server load)
from deployments import single
from ryu.controller.controller import Datapath
from ryu.lib import hub
from ryu.ofproto import ofproto_v1_3, ofproto_v1_3_parser

from ryu_app import openflow
from ryu_app.deployment import parse
from ryu_app.openflow import serialized
from ryu_app.reconcile import ADD, DELETE, Change
from ryu_app.steering import Group, Steering, wanted
from ryu_app.switch_link import Link


class Switch(Datapath):
    """Ryu's queue to a switch, without the switch: ``take`` is what its sender does with it."""

    def __init__(self):
        self.send_q = hub.Queue(16)
        self._send_q_sem = hub.BoundedSemaphore(self.send_q.maxsize)
        self.xid = 0
        self.ofproto, self.ofproto_parser = ofproto_v1_3, ofproto_v1_3_parser

    def take(self):
        data, _ = self.send_q.get()
        self._send_q_sem.release()
        return data


TYPE = b"type"


@pytest.fixture(name="link")
def _link():
    link = Link("s1", Switch(), 1)
    with eventlet.Timeout(10):
        yield link
    link.stop()


def send(link, *texts):
    return link.send([(TYPE + bytes(4) + text, "") for text in texts])


def text(data):
    """What one message that was sent has behind its header."""
    assert data[:4] == TYPE
    return data[8:]


def test_what_goes_to_a_switch_is_handed_on_at_once(link):
    first, second = send(link, b"a", b"b")
    assert first != second and link.datapath.send_q.qsize() == 1
    assert link.datapath.take() == TYPE + first.to_bytes(4, "big") + b"a" + TYPE + second.to_bytes(4, "big") + b"b"


def test_where_others_wait_it_waits_behind_them_and_the_controller_does_not(link):
    """Ryu's queue has room again, but somebody waits for it already: who sent now would wait, too."""
    switch = link.datapath
    for number in range(16):
        switch.send(b"%d" % number)
    eventlet.spawn(switch.send, b"16")
    eventlet.sleep(0)
    assert switch.take() == b"0" and not switch.send_q.full()
    turns = []
    eventlet.spawn(turns.append, "of others")
    send(link, b"ours")
    send(link, b"and more")
    assert not turns, "the controller has not waited"
    taken = [switch.take() for _ in range(18)]
    assert taken[:16] == [b"%d" % number for number in range(1, 17)]
    assert [text(data) for data in taken[16:]] == [b"ours", b"and more"]


def test_after_the_queue_has_drained_it_is_handed_on_at_once_again(link):
    switch = link.datapath
    for _ in range(16):
        switch.send(b"theirs")
    send(link, b"1")
    send(link, b"2")
    assert [text(data) for data in [switch.take() for _ in range(18)][16:]] == [b"1", b"2"]
    eventlet.sleep(0)
    send(link, b"3")
    assert switch.send_q.qsize() == 1 and text(switch.take()) == b"3"


def test_a_change_goes_out_as_ryu_would_send_it_also_when_its_bytes_were_kept(link):
    flows, groups = wanted(parse(single()), Steering({("nat", "input-logger"): "il", ("nat", "output-logger"): "ol", ("nat", "master"): "m1"}))
    changes = [Change(what, entry) for what in (ADD, DELETE) for entry in sorted(flows | groups, key=repr)]
    for _ in range(2):
        for change in changes:
            xid, = link.send([(link.codec.encoded(change), change)])
            message = link.codec.change(change)
            message.set_xid(xid)
            assert link.datapath.take() == serialized(message)
            assert link.xids.refused(xid) is change


def test_bytes_of_so_many_changes_and_no_more_are_kept(link, monkeypatch):
    monkeypatch.setattr(openflow, "_ENCODED_MAX", 3)
    groups = [Group("s1", number, "indirect", ()) for number in range(10)]
    for group in groups:
        assert link.codec.encoded(Change(ADD, group)) == serialized(link.codec.change(Change(ADD, group)))
        assert len(link.codec._encoded) <= 3
