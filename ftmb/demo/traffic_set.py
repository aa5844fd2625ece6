"""All traffic of one demo run: the programs in the two hosts, and the record of the probe flow."""

import os
import tempfile

from .gaps import arrived_after, longest_silence, lost_between, repeats
from .programs import Download, Program, ProgramError
from .traffic.probe import read_record

_START_TIMEOUT_S = 30
_ANSWER_TIMEOUT_S = 10
#: A program that was told to be done within a time gets this much more to say so.
_GRACE_S = 5
_FILE_PORT = 7080


class TrafficSet:
    """Start with ``start``, end with ``finish`` (orderly, tells totals) or ``stop`` (at once, always safe)."""

    def __init__(self, popen, client, server, server_address):
        self._popen, self._client_host, self._server_host = popen, client, server
        self._address = server_address
        self._directory = tempfile.TemporaryDirectory(prefix="ftmb-demo-")
        self._record = os.path.join(self._directory.name, "probe")
        self._programs, self._download = [], None

    def start(self, wanted):
        """Start everything; return once all of it is established. Raises ProgramError."""
        at, to = ("--address", self._address), ("--to", self._address)
        self._server = self._run(self._server_host, "server", *at)
        self._files = self._run(self._server_host, "files", *at, "--seed", wanted.seed)
        self._receiver = self._run(self._server_host, "probe", "receive", *at, "--record", self._record)
        for program in (self._server, self._files, self._receiver):
            program.wait_for("ready", _START_TIMEOUT_S)
        self._client = self._run(self._client_host, "client", *to, "--connections", wanted.connections,
                                 "--flows", wanted.flows, "--new-per-s", wanted.new_per_s)
        self._sender = self._run(self._client_host, "probe", "send", *to)
        self._download = Download(self._popen, self._client_host, f"http://{self._address}:{_FILE_PORT}/")
        self._sender.wait_for("ready", _START_TIMEOUT_S)
        ready = self._client.wait_for("ready", _START_TIMEOUT_S)
        self._download.wait_begun(_START_TIMEOUT_S)
        if ready["tcp_answered"] != wanted.connections:
            raise ProgramError(f"only {ready['tcp_answered']} of {wanted.connections} connections could be "
                               f"established before any kill ({ready['tcp_broken_why']})")

    def _run(self, host, module, *arguments):
        program = Program(self._popen, host, module, *arguments)
        self._programs.append(program)
        return program

    def confirm(self, timeout_ms):
        """(client, server): counts, once all has had an answer to something sent from now on, or at the timeout."""
        client = self._client.ask(f"confirm {timeout_ms}", "confirmed", timeout_ms / 1e3 + _GRACE_S)
        return client, self._server.ask("report", "report", _ANSWER_TIMEOUT_S)

    @property
    def download_bytes(self):
        """What curl has received so far."""
        return self._download.received_bytes

    def gap(self, start_ns, end_ns):
        """(gap_from_ns, gap_to_ns, lost, arrivals after the gap) of the probe flow in a window."""
        self._receiver.ask("flush", "flushed", _ANSWER_TIMEOUT_S)
        numbers, received_ns = read_record(self._record)
        from_ns, to_ns = longest_silence(received_ns, start_ns, end_ns)
        return from_ns, to_ns, lost_between(numbers, received_ns, start_ns, end_ns), arrived_after(received_ns, to_ns)

    def caught(self, from_ns, to_ns):
        """How many new connections were under way between two moments of the last half minute."""
        return self._client.ask(f"caught {from_ns} {to_ns}", "caught", _ANSWER_TIMEOUT_S)["count"]

    def quiet_ms(self, windows):
        """The longest silence of the probe flow in *windows* of (start_ns, end_ns), in milliseconds."""
        self._receiver.ask("flush", "flushed", _ANSWER_TIMEOUT_S)
        _, received_ns = read_record(self._record)
        spans = [longest_silence(received_ns, start_ns, end_ns) for start_ns, end_ns in windows]
        return max((to_ns - from_ns for from_ns, to_ns in spans), default=0) / 1e6

    def finish(self, timeout_ms):
        """End everything in order: {"client", "server", "probe", "download"} as report.Totals takes them."""
        download = self._finish_download(timeout_ms / 1e3)
        client = self._client.ask(f"finish {timeout_ms}", "result", 2 * timeout_ms / 1e3 + _GRACE_S)
        sent = self._sender.ask("finish", "result", _ANSWER_TIMEOUT_S)
        received = self._receiver.ask("finish", "result", _ANSWER_TIMEOUT_S)
        server = self._server.ask("finish", "result", _ANSWER_TIMEOUT_S)
        numbers, _ = read_record(self._record)
        probe = {"sent": sent["sent"], "received": received["received"], "repeats": repeats(numbers),
                 "mappings_changed": received["mappings_changed"]}
        return {"client": client, "server": server, "probe": probe, "download": download}

    def _finish_download(self, timeout_s):
        self._files.tell("finish")
        download = self._download.result(timeout_s)
        served = {"served_bytes": None, "served_sha256": None}
        if download["curl_exit"] is not None:
            result = self._files.wait_for("result", _ANSWER_TIMEOUT_S)
            served = {"served_bytes": result["bytes"], "served_sha256": result["sha256"]}
        return {**download, **served}

    def stop(self):
        """End every program at once and remove the record."""
        if self._download is not None:
            self._download.stop()
        for program in self._programs:
            program.stop()
        self._directory.cleanup()
