"""Real node processes, and a controller that gives them their roles and otherwise only listens."""

import json
import os
import secrets
import sys
import time

from middleboxes.runtime.connection import Listener
from middleboxes.runtime.loop import Loop

from ..errors import UsageError
from .network import ADDRESSES, CONTROLLER, GROUP_ID, INSIDE_MAC, OUTSIDE_MAC, inside
from .programs import start, stop

GROUP = "bench"
PORTS = [{"name": "inside", "mac": INSIDE_MAC, "address": "10.0.0.254/8"},
         {"name": "outside", "mac": OUTSIDE_MAC, "address": "192.0.2.254/24"}]
#: enough external addresses for a million mappings
NAT = {"external_addresses": [f"192.0.2.{number}" for number in range(100, 132)], "mappings_max": 1_000_000}
#: role -> the node that has it
ROLES = {"input-logger": "il", "master": "m", "output-logger": "ol", "store": "st"}
_CONTROL_PORT, _SERVICE_PORT = 9777, 9778
_ANSWER_S = 10.0
_POLL_NS = 50_000_000


class Nodes:
    """One protected NAT: make, use ``pids``, ``close``. Raises UsageError when a role is not taken."""

    def __init__(self, directory, checkpoint_interval_ms, workers=1, function="nat", parameters=None):
        self._loop, self._ids = Loop(), 0
        self._connections, self._replies, self._events, self._beats = {}, {}, [], {}
        self._processes, self._logs = {}, []
        self._listener = None
        self._directory = directory
        key = secrets.token_bytes(32)
        try:
            with inside("hub"):
                self._listener = Listener(self._loop, [CONTROLLER, _CONTROL_PORT], key, self._message, print)
            self._start(key)
            self._assign(checkpoint_interval_ms, workers, function, NAT if parameters is None else parameters)
        except BaseException:
            self.close()
            raise

    def _start(self, key):
        key_file = os.path.join(self._directory, "key")
        with open(key_file, "w", encoding="ascii") as file:
            file.write(key.hex())
        for name, address in ADDRESSES.items():
            ports = {GROUP: {"inside": "p-inside", "outside": "p-outside"}} if name in ("il", "ol") else {}
            settings = {"node": name, "key_file": key_file, "controller": [CONTROLLER, _CONTROL_PORT],
                        "service": [address, _SERVICE_PORT], "data_interface": "d" if name != "st" else "m",
                        "heartbeat_interval_ms": 50, "ports": ports}
            path = os.path.join(self._directory, f"{name}.json")
            with open(path, "w", encoding="ascii") as file:
                json.dump(settings, file)
            log = open(os.path.join(self._directory, f"{name}.log"), "ab")
            self._logs.append(log)
            self._processes[name] = start(name, [sys.executable, "-m", "middleboxes.runtime", path], stdout=log, stderr=log)
        self._until(lambda: len(self._connections) == len(ADDRESSES))

    def _assign(self, interval_ms, workers, function, parameters):
        common = {"group_id": GROUP_ID, "workers": workers, "ports": PORTS}
        self._request("store", {})
        self._request("output-logger", {**common, "covered_from": 0})
        self._request("master", {**common, "function": function, "parameters": parameters, "start": [0] * workers,
                                 "checkpoint_interval_ms": interval_ms, "inputs_from": 0, "store": [ADDRESSES["st"], _SERVICE_PORT]})
        self._until(lambda: "protected" in self._events)
        self._request("input-logger", {**common, "function": function, "tick_interval_ms": 100, "log_bytes_max": 256 << 20,
                                       "start": [0] * workers, "start_ns": 0, "master_epoch": 1})

    @property
    def pids(self):
        """{role: pid}"""
        return {role: self._processes[name].pid for role, name in ROLES.items()}

    def counters(self):
        """{role: counters}, as of a fresh beat of each node."""
        self._beats.clear()
        self._until(lambda: len(self._beats) == len(ADDRESSES))
        return {role["role"]: role["counters"] for roles in self._beats.values() for role in roles}

    def serve(self, seconds):
        """Be the controller for *seconds*."""
        deadline = time.monotonic() + seconds
        self._until(lambda: time.monotonic() > deadline, seconds + _ANSWER_S)

    def _message(self, connection, message):
        name = connection.channel.peer
        if message["t"] == "hello":
            self._connections[name] = connection
        elif message["t"] == "reply":
            self._replies[message["id"]] = message
        elif message["t"] == "event":
            self._events.append(message["name"])
        elif message["t"] == "beat":
            self._beats[name] = message["roles"]
        self._loop.stop()           # whoever waits looks again

    def _request(self, role, args):
        self._ids += 1
        number = self._ids
        self._connections[ROLES[role]].send({"t": "request", "id": number, "do": role, "group": GROUP, "epoch": 1, "args": args})
        self._until(lambda: number in self._replies)
        reply = self._replies.pop(number)
        if not reply["ok"]:
            raise UsageError(f"bench: {role} was not taken: {reply['error']}")

    def _until(self, condition, seconds=_ANSWER_S):
        deadline = time.monotonic() + seconds
        while not condition():
            if "failed" in self._events or time.monotonic() > deadline:
                raise UsageError(f"bench: a node failed, or did not answer in {seconds:g} s: {self._said()}")
            timer = self._loop.after(_POLL_NS, self._loop.stop)
            self._loop.run()
            self._loop.cancel(timer)

    def _said(self):
        texts = []
        for name in ADDRESSES:
            with open(os.path.join(self._directory, f"{name}.log"), encoding="utf-8", errors="replace") as file:
                texts.append(file.read()[-300:].strip())
        return "; ".join(filter(None, texts))

    def close(self):
        """End the processes."""
        stop(list(self._processes.values()))
        for log in self._logs:
            log.close()
        for connection in list(self._connections.values()):
            connection.close("the bench is over")
        if self._listener is not None:
            self._listener.close()
