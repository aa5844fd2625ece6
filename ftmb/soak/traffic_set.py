"""All traffic of a soak: UDP from two clients at full load, and a paced download by TCP that lasts from beginning to end."""

from ..demo.programs import Download, Program
from .load import FLOWS

CLIENTS, SERVER = ("client1", "client2"), "server1"
_START_TIMEOUT_S = 30
_ANSWER_TIMEOUT_S = 10
_DOWNLOAD_TIMEOUT_S = 60
_FILE_PORT = 7080


class TrafficSet:
    """Start with ``start``; ``stop`` ends everything at once and is always safe."""

    def __init__(self, emulator, seed):
        self._emulator, self._seed = emulator, seed
        self._programs, self._clients, self._download = [], [], None

    def start(self):
        """Start everything. Raises ProgramError."""
        address = self._emulator.host_address(SERVER)
        self._server = self._run(SERVER, "load", "serve", "--address", address, package="ftmb.soak")
        self._files = self._run(SERVER, "files", "--address", address, "--seed", self._seed)
        for program in (self._server, self._files):
            program.wait_for("ready", _START_TIMEOUT_S)
        # before the load: its connection is not to be lost at the first step
        self._download = Download(self._emulator.popen, CLIENTS[0], f"http://{address}:{_FILE_PORT}/")
        self._download.wait_begun(_START_TIMEOUT_S)
        for number, name in enumerate(CLIENTS):
            self._clients.append(self._run(name, "load", "send", "--to", address, "--first-flow", number * FLOWS,
                                           package="ftmb.soak"))
        for program in self._clients:
            program.wait_for("ready", _START_TIMEOUT_S)

    def _run(self, host, module, *arguments, **keywords):
        program = Program(self._emulator.popen, host, module, *arguments, **keywords)
        self._programs.append(program)
        return program

    def answered(self):
        """How many answers have come so far."""
        return sum(client.ask("report", "report", _ANSWER_TIMEOUT_S)["received"] for client in self._clients)

    def stop_sending(self):
        """End the load and the download in order; what is under way still arrives. The download's outcome."""
        for client in self._clients:
            client.ask("stop", "stopped", _ANSWER_TIMEOUT_S)
        self._files.tell("finish")
        download = self._download.result(_DOWNLOAD_TIMEOUT_S)
        if download["curl_exit"] is not None:
            served = self._files.wait_for("result", _ANSWER_TIMEOUT_S)
            download.update(served_bytes=served["bytes"], served_sha256=served["sha256"])
        return download

    def finish(self):
        """{"server", "clients"}: counts of the load (clients' summed); everything has ended then."""
        clients = [client.ask("finish", "result", _ANSWER_TIMEOUT_S) for client in self._clients]
        return {"server": self._server.ask("finish", "result", _ANSWER_TIMEOUT_S),
                "clients": {name: sum(client[name] for client in clients) for name in clients[0]}}

    def stop(self):
        """End every program at once."""
        if self._download is not None:
            self._download.stop()
        for program in self._programs:
            program.stop()
