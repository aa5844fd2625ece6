"""The process that fetches and writes a bundle, with store and loggers at the loopback interface."""

import json
import os
import secrets
import subprocess
import sys
import time

import pytest

from middleboxes.core.frames import InputEncoder
from middleboxes.core.outputlog import pack_keys
from middleboxes.replay import Bundle
from middleboxes.replay.capture import Capture
from middleboxes.replay.errors import BundleError
from middleboxes.runtime.bundles import Bundles
from middleboxes.runtime.connection import Listener
from middleboxes.runtime.loop import Loop
from tests.replay.test_replay import FUNCTION, words

TIMEOUT_S = 20


class Services:
    """Store and both loggers of group g on one port; they have what *bundle* has. *silent*: message types that are not answered."""

    def __init__(self, bundle, silent=()):
        self.loop, self.key, self.bundle, self.silent = Loop(), secrets.token_bytes(32), bundle, silent
        self.followers, self.asked = [], []
        self.listener = Listener(self.loop, ["127.0.0.1", 0], self.key, self._message, lambda text: None)

    def _message(self, connection, message):
        self.asked.append(message["t"])
        if message["t"] in self.silent:
            return
        if message["t"] == "subscribe" and message["follow"]:
            self.followers.append(connection)
        elif message["t"] == "subscribe":
            if "end" in self.silent:
                connection.send(chunk(self.bundle.header["id"], self.bundle.checkpoint_chunks[0]))
                return
            for data in self.bundle.checkpoint_chunks:
                connection.send(chunk(self.bundle.header["id"], data))
            connection.send(chunk(self.bundle.header["id"]))
            connection.send(chunk(0))
        elif message["t"] == "inputs":
            encoder = InputEncoder(1, bytes(6))
            for worker, items in enumerate(self.bundle.inputs):
                connection.send({"t": "input_batch", "group": "g", "worker": worker, "end": True,
                                 "frames": [encoder.encode(1, worker, item) for item in items]})
        else:
            for worker, log in enumerate(self.bundle.determinants):
                connection.send({"t": "determinant_batch", "group": "g", "worker": worker, "end": True,
                                 "data": log.encode(log.trimmed, 1 << 20)[0], "released": pack_keys([(3 << 16), 99 << 16])})

    def commit(self):
        """The master's checkpoint is durable."""
        for connection in self.followers:
            header = self.bundle.result_header
            for data in self.bundle.result_chunks:
                connection.send({**chunk(header["id"], data), "base": header["base"]})
            connection.send({**chunk(header["id"]), "base": header["base"]})

    def task(self, directory, **changes):
        """For the bundler."""
        address = ["127.0.0.1", self.listener.port]
        return {"function": FUNCTION, "parameters": {}, "ports": self.bundle.ports, "workers": self.bundle.workers, "group": "g",
                "group_id": 1, "epoch": 2, "cause": "failover", "detail": "", "node": "m2", "stored": self.bundle.recoverable,
                "store": address, "input_logger": address, "output_logger": address, "key": self.key.hex(),
                "directory": str(directory), "count_max": 3, "bytes_max": 1 << 20, **changes}

    def close(self):
        self.listener.close()

    def until(self, condition):
        deadline = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < deadline, self.asked
            timer = self.loop.after(20_000_000, lambda: None)
            self.loop._turn()
            self.loop.cancel(timer)


def chunk(number, data=None):
    return {"t": "chunk", "group": "g", "id": number, "base": 0, "last": data is None, "data": data or b""}


class Process:
    """The bundler as a node has it."""

    def __init__(self, services):
        self.services, self.said, self._buffer = services, [], b""
        self._popen = subprocess.Popen([sys.executable, "-m", "middleboxes.runtime.bundler"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       bufsize=0)
        services.loop.watch(self._popen.stdout.fileno(), self._read)
        self.ended = False

    def _read(self):
        data = self._popen.stdout.read(65536)
        if not data:
            self.services.loop.watch(self._popen.stdout.fileno())
            self._popen.wait()
            self.ended = True
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        self.said += map(json.loads, lines)

    def tell(self, **message):
        self._popen.stdin.write(json.dumps(message).encode() + b"\n")

    def leave(self):
        self._popen.stdin.close()

    def hear(self, what):
        """The next thing it says, which must be that."""
        self.services.until(lambda: self.said or self.ended)
        assert self.said and what in self.said[0], self.said
        return self.said.pop(0)[what]

    def close(self):
        self._popen.kill()
        self._popen.wait()


@pytest.fixture
def made():
    """A bundle as master and loggers have its parts; steps 0:3 to 0:8."""
    return words(b"a", None, b"b", b"poison", b"c").bundle(FUNCTION)


@pytest.fixture
def start():
    """A function: (services, process)."""
    running = []

    def begin(bundle, **options):
        services = Services(bundle, **options)
        running.append(Process(services))
        return services, running[-1]
    yield begin
    for process in running:
        process.close()
        process.services.close()


def test_a_bundle_ends_at_the_checkpoint_that_the_master_commits(start, made, tmp_path):
    services, process = start(made)
    process.tell(task=services.task(tmp_path))
    process.tell(positions=[list(position) for position in made.result_header["positions"]], base=made.header["id"])
    assert process.hear("captured") is True
    services.until(lambda: services.followers)
    services.commit()
    path = process.hear("written")
    services.until(lambda: process.ended)
    bundle = Bundle.load(path)
    replay = bundle.replay()
    replay.run()
    assert replay.compared and replay.differences == [] and replay.error_count == 1
    assert (bundle.cause, bundle.epoch, bundle.node, bundle.released) == ("failover", 2, "m2", [{3 << 16}])
    assert os.stat(path).st_mode & 0o777 == 0o600 and [entry.path for entry in os.scandir(tmp_path)] == [path]


@pytest.mark.parametrize("why", ["the node hangs", "the node is gone", "it could not recover"])
def test_without_a_checkpoint_it_ends_at_the_recoverable_prefix_and_has_all_inputs(start, made, tmp_path, why):
    services, process = start(made)
    process.tell(task=services.task(tmp_path, stored=[4]))
    process.tell(alive=True)
    if why == "the node is gone":
        process.leave()
    elif why == "it could not recover":
        process.tell(begin=True)
    assert process.hear("captured") is True
    bundle = Bundle.load(process.hear("written"))
    assert bundle.result is None and bundle.recoverable == [4] and bundle.determinants[0].last == 4 and len(bundle.inputs[0]) == 6
    assert [step.phase for step in bundle.replay()] == ["recovered"] * 2 + ["new"] * 4


def test_it_ends_with_its_node_when_it_has_nothing_to_do(start, made):
    services, process = start(made)
    process.leave()
    services.until(lambda: process.ended)
    assert process.said == [] and services.asked == []


def test_what_the_loggers_forgot_meanwhile_is_told(start, made, tmp_path):
    del made.inputs[0][0]
    services, process = start(made)
    process.tell(task=services.task(tmp_path))
    process.tell(begin=True)
    process.hear("captured")
    assert "input 3 of worker 0, which step 3 needs, was forgotten meanwhile" in process.hear("failed")
    assert list(tmp_path.iterdir()) == []


def test_a_service_that_goes_away_is_told(start, made, tmp_path):
    services, process = start(made)
    process.tell(task=services.task(tmp_path, output_logger=["127.0.0.1", 9]))
    process.tell(begin=True)
    assert "the output_logger went away: Connection refused" in process.hear("failed")
    services.until(lambda: process.ended)


def test_half_a_checkpoint_is_none(start, made, tmp_path):
    services, process = start(made, silent=("end",))
    process.tell(task=services.task(tmp_path))
    process.tell(begin=True)
    process.hear("captured")
    process.leave()
    assert "did not answer in time" in process.hear("failed")


def test_a_store_that_goes_away_before_the_master_commits_costs_only_the_end(start, made, tmp_path):
    services, process = start(made)
    process.tell(task=services.task(tmp_path))
    process.tell(positions=[list(position) for position in made.result_header["positions"]], base=made.header["id"])
    process.hear("captured")
    services.until(lambda: services.followers)
    services.followers[0].close("gone")
    bundle = Bundle.load(process.hear("written"))
    assert bundle.result is None and bundle.recoverable == [8]


def test_a_directory_that_cannot_be_used_is_told(start, made, tmp_path):
    services, process = start(made)
    (tmp_path / "file").write_text("")
    process.tell(task=services.task(tmp_path / "file" / "below"))
    process.tell(begin=True)
    process.hear("captured")
    assert "Not a directory" in process.hear("failed")


def test_a_capture_has_a_bound(made):
    capture = Capture(dict(workers=1), content_bytes_max=100)
    with pytest.raises(BundleError, match="more than 100 bytes"):
        capture.checkpoint(chunk(1, bytes(101)))



# -- the node's end

class Node:
    """What Bundles sees of a node."""

    def __init__(self, services, directory, roles=("spare",)):
        self.loop, self.name, self.agent, self.events, self.logged = services.loop, "m2", self, [], []
        self.roles = roles
        self.bundles = Bundles(self, {"directory": str(directory), "count_max": 3, "bytes_max": 1 << 20}, services.key)
        task = services.task(directory)
        self.peers = {name: task[name] for name in ("store", "input_logger", "output_logger")}
        self.noted = self.bundles.watched("g", task, lambda name, detail: None)

    def role(self, group, name):
        return name in self.roles

    def event(self, name, group, epoch, detail):
        self.events.append((name, group, epoch, detail["text"]))

    def log(self, text):
        self.logged.append(text)


class Cut:
    """A master's checkpoint that waits to be committed."""

    def __init__(self, bundle, node):
        self.positions, self.base = bundle.result_header["positions"], bundle.header["id"]
        self.node, self.committed = node, False

    def look(self):
        self.committed = self.node.bundles.may_commit("g", self, self.look)


@pytest.fixture
def node(made, tmp_path):
    services = Services(made)
    node = Node(services, tmp_path)
    node.services = services
    yield node
    node.bundles.close()
    services.close()


def test_a_commit_waits_for_what_it_would_make_others_forget(node, made):
    node.bundles.begin("g", 7, node.peers, made.recoverable, "killed")
    cut = Cut(made, node)
    cut.look()
    assert not cut.committed
    node.services.until(lambda: cut.committed)
    assert set(node.services.asked) == {"subscribe", "inputs", "determinants"}
    node.services.commit()
    node.services.until(lambda: node.events)
    ((name, group, epoch, text),) = node.events
    assert (name, group, epoch) == ("bundle", "g", 7) and text.startswith("failover: ") and node.bundles.counters["bundles_written"] == 1
    assert Bundle.load(text.split(": ")[1].split(",")[0]).detail == "killed"
    # the next one has a process, too
    node.services.until(lambda: node.bundles._current is None and node.bundles._process is not None)


def test_no_commit_waits_for_ever(node, made, monkeypatch):
    monkeypatch.setattr("middleboxes.runtime.bundles.HOLD_NS", 50_000_000)
    node.services.silent = ("inputs",)
    node.bundles.begin("g", 7, node.peers, made.recoverable)
    cut = Cut(made, node)
    cut.look()
    node.services.until(lambda: cut.committed)
    assert node.events == []


def test_a_bundler_that_dies_is_told_and_holds_nobody(node, made):
    node.bundles.begin("g", 7, node.peers, made.recoverable)
    cut = Cut(made, node)
    cut.look()
    node.bundles._process.kill()
    node.services.until(lambda: cut.committed)
    assert node.events == [("bundle-failed", "g", 7, "failover: the process that writes it ended with -9")]
    assert node.bundles.counters["bundles_failed"] == 1


def test_one_bundle_at_a_time(node, made):
    node.bundles.begin("g", 7, node.peers, made.recoverable)
    node.bundles.begin("h", 7, node.peers, made.recoverable)
    assert node.bundles.counters["bundles_skipped"] == 1
    assert node.bundles.may_commit("h", None, None)


def test_a_spare_that_could_not_recover_leaves_a_bundle(node, made):
    node.roles = ()
    node.bundles.begin("g", 7, node.peers, made.recoverable)
    node.services.until(lambda: node.events)
    assert node.events[0][0] == "bundle"


def test_a_fault_of_the_function_is_captured_from_the_checkpoint_before_it(node, made):
    """The error is told, the next checkpoint asks, the controller answers; then as after a failover."""
    assert not node.bundles.cut("g", 5, True), "nothing was told: not a new place"
    node.noted("function-error", "ZeroDivisionError: x at boxes.py:18")
    assert not node.bundles.cut("g", 5, False), "the step is not in this checkpoint"
    assert node.bundles.cut("g", 5, True)
    cut = Cut(made, node)
    cut.look()
    assert not cut.committed and node.services.asked == []
    node.bundles.begin("g", 5, node.peers)
    node.services.until(lambda: cut.committed)
    node.services.commit()
    node.services.until(lambda: node.events)
    bundle = Bundle.load(node.events[0][3].split(": ")[1].split(",")[0])
    assert (bundle.cause, bundle.detail) == ("function-error", "ZeroDivisionError: x at boxes.py:18") and bundle.recoverable == [8]
    # another place soon after: not so many at once
    node.services.until(lambda: node.bundles._current is None)
    node.noted("function-error", "KeyError: y at boxes.py:20")
    assert not node.bundles.cut("g", 5, True) and node.bundles.counters["bundles_skipped"] == 1


def test_a_controller_that_does_not_answer_holds_nobody(node, made):
    node.noted("function-error", "ZeroDivisionError")
    assert node.bundles.cut("g", 5, True)
    cut = Cut(made, node)
    cut.look()
    node.services.until(lambda: cut.committed)
    assert node.events == [("bundle-failed", "g", 5, "function-error: the controller did not say where the loggers are")]


def test_without_the_setting_nothing_happens(made, tmp_path):
    services = Services(made)
    node = Node(services, tmp_path)
    node.bundles.close()
    node.bundles = bundles = Bundles(node, None, services.key)
    assert bundles.watched("g", None, print) is print and not bundles.cut("g", 1, True) and bundles.counters == {}
    bundles.begin("g", 7, node.peers, [1])
    assert bundles.may_commit("g", None, None)
    services.close()
