"""REST on Ryu's own web server: real requests over loopback, real status codes, streams and their bounds."""

import eventlet
import pytest
from eventlet.green import socket
from web import Web, answer

from ryu_app import app as app_module
from ryu_app import events as events_module
from ryu_app.events import STREAMS_MAX, EventLog
from ryu_app.refusal import Refused
from ryu_app.rest import BODY_BYTES_MAX

KEY = bytes(range(32))
AUTHENTIC = {"X-FTMB-Key": KEY.hex()}


class Operations:
    def __init__(self):
        self.log, self.asked = EventLog(), []
        self.stream, self.events = self.log.follow, self.log.since

    def status(self):
        return {"groups": [{"name": "nat"}], "hosts": [{"name": "m1"}]}

    def move(self, group, to, reload):
        self.asked.append((group, to, reload))
        if to is None:
            raise Refused("no node is free")
        return {"group": group, "master": to}


@pytest.fixture
def operations():
    return Operations()


@pytest.fixture
def web(operations):
    web = Web(KEY, operations)
    with eventlet.Timeout(20):
        yield web
    web.stop()


def test_requests_are_answered_with_their_status_and_json(web, operations):
    assert web.ask("GET", "/ftmb/status")[:2] == (200, operations.status())
    assert web.ask("GET", "/ftmb/groups/nat")[:2] == (200, {"name": "nat"})
    assert web.ask("GET", "/ftmb/nodes")[2]["content-type"].startswith("application/json")
    status, value, headers = web.ask("DELETE", "/ftmb/status")
    assert (status, headers["allow"]) == (405, "GET") and "takes GET" in value["error"]
    assert web.ask("GET", "/ftmb/events?since=x")[0] == 400
    assert web.ask("GET", "/ftmb/nothing")[0] == 404
    assert web.ask("POST", "/ftmb/groups/nat/move", b'{"to": "m1"}')[0] == 401
    assert web.ask("POST", "/ftmb/groups/nat/move", b'{"to": "m1", "reload": true}', AUTHENTIC)[:2] == (
        200, {"group": "nat", "master": "m1"})
    assert web.ask("POST", "/ftmb/groups/nat/move", b"", AUTHENTIC)[:2] == (409, {"error": "no node is free"})
    assert operations.asked == [("nat", "m1", True), ("nat", None, False)]


@pytest.mark.parametrize("path", ["/ftmb/%ff", "/ftmb/events?since=%ff", "/ftmb/groups/%c3%28"])
def test_what_is_not_text_is_400(web, path):
    assert web.ask("GET", path)[0] == 400


def test_a_large_body_is_refused_before_it_is_sent(web, operations):
    with web.connect() as sock:
        sock.sendall(f"POST /ftmb/groups/nat/move HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-FTMB-Key: {KEY.hex()}\r\n"
                     f"Content-Length: {BODY_BYTES_MAX + 1}\r\n\r\n".encode())
        assert answer(sock)[0] == 413
    assert web.ask("POST", "/ftmb/groups/nat/move", b"0\r\n\r\n", {
        **AUTHENTIC, "Content-Length": None, "Transfer-Encoding": "chunked"})[0] == 411
    assert operations.asked == []


def test_a_body_that_does_not_come_is_not_waited_for(web, operations, monkeypatch):
    monkeypatch.setattr(app_module, "BODY_S", 0.01)
    with web.connect() as sock:
        sock.sendall(f"POST /ftmb/groups/nat/move HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-FTMB-Key: {KEY.hex()}\r\n"
                     "Content-Length: 100\r\n\r\n{".encode())
        assert answer(sock)[0] == 400
    assert operations.asked == []


def open_stream(web):
    sock = web.connect()
    sock.sendall(b"GET /ftmb/events/stream?since=0 HTTP/1.1\r\nHost: x\r\n\r\n")
    return sock, sock.makefile("rb")


def read_until(file, text):
    while text not in (line := file.readline()):
        assert line, "the stream has ended"


def test_events_are_streamed_as_they_come(web, operations):
    operations.log.add({"what": "before"})
    sock, file = open_stream(web)
    read_until(file, b"text/event-stream")
    read_until(file, b'"what": "before"')
    operations.log.add({"what": "after"})
    read_until(file, b"id: 2")
    read_until(file, b'"what": "after"')
    assert operations.log.streams == 1
    sock.close()


def test_a_client_that_leaves_gives_its_place_back(web, operations, monkeypatch):
    monkeypatch.setattr(events_module, "KEEPALIVE_S", 0.01)
    opened = [open_stream(web) for _ in range(STREAMS_MAX)]
    for _, file in opened:
        read_until(file, b": events")
    assert web.ask("GET", "/ftmb/events/stream")[0] == 503
    for sock, file in opened:
        file.close()
        sock.close()
    while operations.log.streams:
        eventlet.sleep(0.001)


def test_a_client_that_does_not_read_loses_its_connection(web, operations, monkeypatch):
    monkeypatch.setattr(events_module, "QUEUE_EVENTS_MAX", 4)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", web.port))
    sock.sendall(b"GET /ftmb/events/stream HTTP/1.1\r\nHost: x\r\n\r\n")
    while not operations.log.streams:
        eventlet.sleep(0)
    while not operations.log.counters["streams_dropped"]:
        operations.log.add({"what": "x" * 100_000})
        eventlet.sleep(0)
    assert operations.log.streams == 0
    try:
        while sock.recv(1 << 20):
            pass
    except ConnectionResetError:
        pass
