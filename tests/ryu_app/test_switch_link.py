"""What goes to a switch: at once where nothing waits, in order, and without ever making the controller wait."""

import eventlet
import pytest
import web  # noqa: F401 (it makes Ryu's web server load)
from ryu.controller.controller import Datapath
from ryu.lib import hub
from ryu.ofproto import ofproto_v1_3, ofproto_v1_3_parser

from ryu_app.app import _Link


class Switch(Datapath):
    """Ryu's queue to a switch, without the switch: ``take`` is what its sender does with it."""

    def __init__(self):
        self.send_q = hub.Queue(16)
        self._send_q_sem = hub.BoundedSemaphore(self.send_q.maxsize)
        self.xid = 0
        self.ofproto, self.ofproto_parser = ofproto_v1_3, ofproto_v1_3_parser

    def set_xid(self, msg):
        self.xid += 1
        return self.xid

    def take(self):
        data, _ = self.send_q.get()
        self._send_q_sem.release()
        return data


class Message:
    def __init__(self, text):
        self.buf = text

    def serialize(self):
        pass


@pytest.fixture(name="link")
def _link():
    link = _Link("s1", Switch(), 1)
    with eventlet.Timeout(10):
        yield link
    link.stop()


def send(link, *texts):
    return link.send([(Message(text), "") for text in texts])


def test_what_goes_to_a_switch_is_handed_on_at_once(link):
    assert len(set(send(link, b"a", b"b"))) == 2
    assert link.datapath.send_q.qsize() == 1 and link.datapath.take() == b"ab"


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
    assert taken == [*(b"%d" % number for number in range(1, 17)), b"ours", b"and more"]


def test_after_the_queue_has_drained_it_is_handed_on_at_once_again(link):
    switch = link.datapath
    for _ in range(16):
        switch.send(b"theirs")
    send(link, b"1")
    send(link, b"2")
    assert [switch.take() for _ in range(18)][16:] == [b"1", b"2"]
    eventlet.sleep(0)
    send(link, b"3")
    assert switch.send_q.qsize() == 1 and switch.take() == b"3"
