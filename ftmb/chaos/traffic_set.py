"""All traffic of a campaign: the flows of two clients to one server, and the 1 kHz probe of the demo."""

import os
import tempfile

from ..demo.gaps import arrived_after, longest_silence, repeats
from ..demo.programs import Program
from ..demo.traffic.probe import read_record as read_probes
from .payload import read_records

CLIENTS, SERVER = ("client1", "client2"), "server1"
_START_TIMEOUT_S = 30
_ANSWER_TIMEOUT_S = 10
#: flow numbers of each client start this far apart
_FLOWS_APART = 1 << 24


class TrafficSet:
    """Start with ``start``; ``stop`` ends everything at once and is always safe."""

    def __init__(self, emulator):
        self._emulator = emulator
        self._directory = tempfile.TemporaryDirectory(prefix="ftmb-chaos-")
        self._programs, self._clients, self._records = [], [], []

    def start(self):
        """Start everything. Raises ProgramError."""
        address = self._emulator.host_address(SERVER)
        probes = os.path.join(self._directory.name, "probes")
        self._probes = probes
        self._server = self._flows(SERVER, "serve", "--address", address)
        self._receiver = self._run(SERVER, "probe", "receive", "--address", address, "--record", probes)
        for program in (self._server, self._receiver):
            program.wait_for("ready", _START_TIMEOUT_S)
        for number, name in enumerate(CLIENTS):
            self._clients.append(self._flows(name, "send", "--to", address, "--first-flow", number * _FLOWS_APART))
        self._sender = self._run(CLIENTS[0], "probe", "send", "--to", address)
        for program in (*self._clients, self._sender):
            program.wait_for("ready", _START_TIMEOUT_S)

    def _run(self, host, module, *arguments, **keywords):
        program = Program(self._emulator.popen, host, module, *arguments, **keywords)
        self._programs.append(program)
        return program

    def _flows(self, host, side, *arguments):
        record = os.path.join(self._directory.name, host)
        self._records.append(record)
        return self._run(host, "flows", side, *arguments, "--record", record, package="ftmb.chaos")

    def flows_everywhere(self):
        """Whether datagrams have arrived at every program."""
        return all(program.ask("flush", "flushed", _ANSWER_TIMEOUT_S)["received"] for program in (self._server, *self._clients))

    def received(self):
        """How many datagrams of flows have arrived so far, at either side."""
        return sum(program.ask("flush", "flushed", _ANSWER_TIMEOUT_S)["received"] for program in (self._server, *self._clients))

    def goes_on_after(self, moment_ns):
        """Whether a probe has arrived after *moment_ns*."""
        self._receiver.ask("flush", "flushed", _ANSWER_TIMEOUT_S)
        return arrived_after(read_probes(self._probes)[1], moment_ns) > 0

    def probes_after(self, moment_ns):
        """How many probes have arrived after *moment_ns*, as far as is written down: all of them once finished."""
        return arrived_after(read_probes(self._probes)[1], moment_ns)

    def gap_ms(self, start_ns, end_ns):
        """The longest silence of the probe flow in a window."""
        self._receiver.ask("flush", "flushed", _ANSWER_TIMEOUT_S)
        from_ns, to_ns = longest_silence(read_probes(self._probes)[1], start_ns, end_ns)
        return (to_ns - from_ns) / 1e6

    def stop_sending(self):
        """No more datagrams; those under way still arrive."""
        self._sent_probes = self._sender.ask("finish", "result", _ANSWER_TIMEOUT_S)["sent"]
        for client in self._clients:
            client.ask("stop", "stopped", _ANSWER_TIMEOUT_S)

    def finish(self):
        """(Sents, Arrivals of flows, counts by name) of the whole campaign; everything has ended then."""
        sides = [program.ask("finish", "result", _ANSWER_TIMEOUT_S) for program in (*self._clients, self._server)]
        probes = self._receiver.ask("finish", "result", _ANSWER_TIMEOUT_S)
        counts = {name: sum(side[name] for side in sides) for name in ("sent", "received", "damaged", "misdelivered")}
        counts.update(probes_sent=self._sent_probes, probes_received=probes["received"],
                      probe_source_changes=probes["mappings_changed"])
        records = [read_records(record) for record in self._records]
        counts["probes_repeated"] = repeats(read_probes(self._probes)[0])
        return [each for sent, _ in records for each in sent], [each for _, arrivals in records for each in arrivals], counts

    def stop(self):
        """End every program at once and remove the records."""
        for program in self._programs:
            program.stop()
        self._directory.cleanup()
