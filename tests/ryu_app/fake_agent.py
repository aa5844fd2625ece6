"""An agent over a real socket: speaks the control channel from a thread, with fake_fabric.Agent's manners."""

import os
import socket
import threading

from fake_node import NEVER, Agent

from middleboxes.core.channel import NONCE_BYTES, Channel


class SocketAgent(threading.Thread):
    """Connects as *name* to *address*, beats, and answers requests until ``close``; connects again if dropped."""

    def __init__(self, name, address, key, boot, beat_s=0.05):
        super().__init__(daemon=True, name=f"agent {name}")
        self.agent = Agent(name, boot)
        self._address, self._key, self._beat_s = address, key, beat_s
        self._done = threading.Event()
        self._sock = None
        self.start()

    def run(self):
        while not self._done.is_set():
            try:
                with socket.create_connection(self._address, timeout=2) as self._sock:
                    self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._converse()
            except OSError:
                self._done.wait(0.05)

    def _converse(self):
        channel = Channel("client", self._key, os.urandom(NONCE_BYTES), self.agent.name)
        self._sock.settimeout(self._beat_s)
        said_hello = False
        while not self._done.is_set():
            try:
                data = self._sock.recv(65536)
            except socket.timeout:
                data = None
            if data == b"":
                return
            for request in channel.receive(data or b""):
                for message in [*self.agent.take(request), *self._durable(request)]:
                    self.agent.say(message)
                    channel.send(message)
            if channel.established:
                channel.send(self.agent.beat() if said_hello else self.agent.hello())
                said_hello = True
            self._sock.sendall(channel.data_to_send())

    def _durable(self, request):
        """There is no data network: a store or spare has all at once, and what a master is told is durable at once."""
        agent, group = self.agent, request["group"]
        if request["do"] in ("store", "spare"):
            agent.checkpoint[group] = (1, NEVER)
        if agent.change.get(group, 0) == agent.told.get(group, 0):
            return []
        agent.told[group] = agent.change[group]
        return [{"t": "event", "name": "protected", "group": group, "epoch": agent.master_epoch[group],
                 "detail": {"checkpoint": 1, "change": agent.change[group]}}]

    def close(self):
        """As if the process were killed."""
        self._done.set()
        if self._sock is not None:
            try:
                self._sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                # not connected just now: there is nothing to shut down
                self._sock.close()
        self.join(5)
