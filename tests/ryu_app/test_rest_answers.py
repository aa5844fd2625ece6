"""REST without a web server: paths, status codes, the contract's keys, and the deployment's key for what changes something."""

import json

import pytest

from deployments import single
from fake_fabric import Fabric

from ryu_app.refusal import Late, Refused, Unavailable
from ryu_app.rest import BODY_BYTES_MAX, Rest
from ryu_app.status import status

KEY = bytes(range(32))
AUTHENTIC = {"X-FTMB-Key": KEY.hex()}


class Operations:
    """Notes what is asked for; *error* is raised by whatever changes something."""

    def __init__(self):
        self.asked, self.error = [], None

    def status(self):
        return {"groups": [{"name": "nat", "epoch": 1}], "hosts": [{"name": "m1"}, {"name": "m2"}]}

    def events(self, since):
        return [since]

    def _change(self, *what):
        if self.error is not None:
            raise self.error
        self.asked.append(what)
        return {"asked": list(what)}

    def move(self, group, to, reload):
        return self._change("move", group, to, reload)

    def decide(self, group, policy):
        return self._change("decide", group, policy)

    def drain(self, node):
        return self._change("drain", node)

    def undrain(self, node):
        return self._change("undrain", node)

    def withdraw(self):
        return self._change("withdraw")


OPERATIONS = Operations()
REST = Rest(KEY, OPERATIONS)
CHANGES = [("POST", "/ftmb/groups/nat/move"), ("POST", "/ftmb/nodes/m1/drain"), ("POST", "/ftmb/nodes/m1/undrain"),
           ("DELETE", "/ftmb/rules")]


@pytest.fixture(autouse=True)
def operations():
    OPERATIONS.__init__()
    return OPERATIONS


def ask(method, path, body=None, query=(), headers=AUTHENTIC):
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return REST.handle(method, path, dict(query), {**headers, "Content-Length": str(len(data))}, lambda count: data[:count])


def test_status_has_the_keys_of_the_contract_and_is_json():
    fabric = Fabric(single())
    fabric.start()
    fabric.run()
    fabric.kill("m1")
    fabric.run()
    value = json.loads(json.dumps(status(fabric.core.context, 0, ["ryu_app.app"], 3)))
    group = value["groups"][0]
    assert set(group) >= {"name", "function", "epoch", "state", "master", "input_logger", "output_logger", "store",
                          "spares", "failovers"}
    assert set(group["failovers"][0]) >= {"role", "cause", "at", "detect_ms", "fence_ms", "load_ms", "replay_ms",
                                          "redirect_ms", "total_ms", "replayed_packets", "timeline"}
    hosts = {host["name"]: (host["role"], host["alive"]) for host in value["hosts"]}
    assert hosts["m1"] == ("idle", False) and hosts["m2"] == ("master", True) and hosts["m3"] == ("spare", True)
    assert value["controller"] == {"alive": True, "apps": ["ryu_app.app"]}


def test_what_is_can_be_read_without_a_key():
    assert ask("GET", "/ftmb/groups", headers={})[:2] == (200, [{"name": "nat", "epoch": 1}])
    assert ask("GET", "/ftmb/groups/nat", headers={})[:2] == (200, {"name": "nat", "epoch": 1})
    assert ask("GET", "/ftmb/nodes", headers={})[:2] == (200, [{"name": "m1"}, {"name": "m2"}])
    assert ask("GET", "/ftmb/events", query={"since": "5"}, headers={})[:2] == (200, [5])


@pytest.mark.parametrize("path", ["/ftmb/other", "/ftmb", "/ftmb/", "", "/", "/ftmb/status/", "/ftmb/groups/nat/move/x", "/ftmb/groups/fw",
                                  "/ftmb/groups/", "/ftmb/NAME/nat", "/other/ftmb/status", "/ftmb/groups/nat/NAME", "//ftmb/status"])
def test_what_is_not_there_is_404(path):
    answer = ask("GET", path)
    assert answer.status == 404 and "no" in answer.value["error"]


def test_a_wrong_method_is_405_and_the_right_one_is_told():
    assert ask("POST", "/ftmb/status")[::2] == (405, {"Allow": "GET"})
    assert ask("GET", "/ftmb/groups/nat/move")[::2] == (405, {"Allow": "POST"})
    assert ask("HEAD", "/ftmb/rules")[::2] == (405, {"Allow": "DELETE"})


@pytest.mark.parametrize("since", ["-1", "x", "", "1.5", "\u0661", "9" * 20])
def test_a_number_that_is_none_is_400(since):
    assert ask("GET", "/ftmb/events", query={"since": since}).status == 400


@pytest.mark.parametrize("method, path", CHANGES)
@pytest.mark.parametrize("headers", [{}, {"X-FTMB-Key": ""}, {"X-FTMB-Key": KEY.hex()[:-1]}, {"X-FTMB-Key": KEY.hex().upper()},
                                     {"X-FTMB-Key": "\u00e9" * 64}, {"X-FTMB-Key": "\udc80"}])
def test_what_changes_something_needs_the_key_and_reads_no_body_without(operations, method, path, headers):
    def read(count):
        raise AssertionError("nothing is read of a stranger's body")

    assert REST.handle(method, path, {}, {**headers, "Content-Length": "9"}, read).status == 401
    assert operations.asked == []


def test_changes_are_handed_on(operations):
    assert ask("POST", "/ftmb/groups/nat/move", {"to": "m2", "reload": True})[:2] == (200, {"asked": ["move", "nat", "m2", True]})
    for body in (None, {}, {"to": None}, {"to": None, "reload": False}):
        assert ask("POST", "/ftmb/groups/nat/move", body).status == 200
    ask("POST", "/ftmb/nodes/m1/drain")
    ask("POST", "/ftmb/nodes/m1/undrain", {})
    ask("DELETE", "/ftmb/rules")
    ask("POST", "/ftmb/groups/nat/decide", {"policy": "empty"})
    assert operations.asked.pop() == ("decide", "nat", "empty")
    assert operations.asked[1:] == [("move", "nat", None, False)] * 4 + [("drain", "m1"), ("undrain", "m1"), ("withdraw",)]


@pytest.mark.parametrize("body, text", [
    (b"{", "not JSON"), (b"\xff", "not JSON"), (b"[" * 30000, "not JSON"), (b"9" * 5000, "not JSON"), ([], "object"), ("x", "object"),
    ({"to": 1}, "to must be text or null"), ({"reload": 1}, "reload must be true or false"), ({"To": "m1"}, "unknown key 'To'; allowed: to, reload"),
    ({"to": "m9"}, "no node 'm9'")])
def test_a_wrong_body_is_400_and_says_why(operations, body, text):
    answer = ask("POST", "/ftmb/groups/nat/move", body)
    assert answer.status == 400 and text in answer.value["error"]
    assert operations.asked == []


@pytest.mark.parametrize("body", [None, {}, {"policy": "block"}, {"policy": None}, {"policy": 1}, {"to": "m1"}])
def test_a_decision_is_one_of_two(operations, body):
    assert ask("POST", "/ftmb/groups/nat/decide", body).status == 400 and operations.asked == []


@pytest.mark.parametrize("headers, status", [
    ({"Content-Length": str(BODY_BYTES_MAX + 1)}, 413), ({"Content-Length": "9" * 4000}, 413), ({"Content-Length": "-1"}, 400),
    ({"Content-Length": "1e3"}, 400), ({"Transfer-Encoding": "chunked"}, 411), ({"Transfer-Encoding": "chunked", "Content-Length": "2"}, 411)])
def test_a_body_is_refused_by_its_announced_length_before_it_is_read(headers, status):
    def read(count):
        raise AssertionError("it is not read")

    assert REST.handle("POST", "/ftmb/nodes/m1/drain", {}, {**AUTHENTIC, **headers}, read).status == status


def test_a_body_of_the_greatest_length_is_read_in_one_piece_and_a_short_one_is_400():
    counts = []
    answer = REST.handle("POST", "/ftmb/nodes/m1/drain", {}, {**AUTHENTIC, "Content-Length": str(BODY_BYTES_MAX)},
                         lambda count: counts.append(count) or b"{}")
    assert answer.status == 400 and "shorter" in answer.value["error"] and counts == [BODY_BYTES_MAX]


def test_an_unknown_group_or_node_to_change_is_404(operations):
    assert ask("POST", "/ftmb/groups/fw/move").status == 404
    assert ask("POST", "/ftmb/nodes/m9/drain").status == 404
    assert operations.asked == []


@pytest.mark.parametrize("method, path", CHANGES)
@pytest.mark.parametrize("error, status", [(Refused("as it is"), 409), (Unavailable("not now"), 503), (Late("not yet"), 504)])
def test_a_refusal_has_its_status_and_its_text(operations, method, path, error, status):
    operations.error = error
    assert ask(method, path)[:2] == (status, {"error": str(error)})
