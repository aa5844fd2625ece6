"""Replays a trace through each function of one live network, with tcpreplay, and captures what goes in and comes out."""

import contextlib
import json
import subprocess
import time
from pathlib import Path

from ftmb import config, plan
from ftmb.chaos.queues import overruns
from ftmb.emulator import client
from middleboxes.core.aggregates import taken_apart
from middleboxes.core.frames import HOP_INPUT, decode_input, hop_of
from middleboxes.sdk.packet import ICMP_ECHO_REPLY

from . import oracle
from .captures import Capture, write_pcap
from .conversations import INSIDE, OUTSIDE
from .many import LOGGERS, configuration
from .product import clean_machine

PACKETS_PER_S = 100
SPARES = 4
_PATIENCE_S, _POLL_S = 40, 0.02
#: column of /proc/net/dev
_RECEIVED_PACKETS = 1
_ICMP_TYPE_AT, _ICMP_REST_AT = 34, slice(38, 42)


class SaysNothingError(Exception):
    """A run on a machine too busy: frames were lost by the network itself or by a logger that was taken for dead, or a kill came too late."""


class Replay:
    """One run of all *subjects* (objects with function, ports, parameters, has_6 and trace); *ways*: how the masters die, None: none does."""

    def __init__(self, directory, subjects, ways):
        self._directory, self._subjects, self._ways = directory, subjects, ways
        self._groups = [f"g{number}" for number in range(len(subjects))]

    def run(self):
        """[Watched of each subject]. Raises SaysNothingError."""
        path = self._directory / "many.yaml"
        path.write_text(configuration([(each.function, each.ports, each.parameters, each.has_6) for each in self._subjects], SPARES), encoding="utf-8")
        planned = plan.make(config.load(path), "/")
        self._place_interfaces(planned)
        with clean_machine(self._directory) as product:
            product("up", str(path))
            self._product = product
            for number in range(len(self._subjects)):
                self._join_hosts(number)
            before = overruns()
            capture = Capture([*self._ends, self._logger], self._directory / "seen.pcapng")
            with capture:
                self._play(capture)
            lost = sum(overruns().values()) - sum(before.values()) + capture.lost()
            roles = {failover["role"] for group in product.status()["groups"] for failover in group["failovers"]}
        if lost:
            raise SaysNothingError(f"{lost} frames were lost by queues")
        if roles - {"master"}:
            raise SaysNothingError(f"these were taken for dead: {roles}")
        watched = self._watched(capture)
        if self._ways is not None and not all(map(oracle.died_in_the_middle, watched)):
            raise SaysNothingError("a master died too early or too late")
        return watched

    def _place_interfaces(self, planned):
        """Where the hosts and the input logger are at the switch."""
        self._ends = {}         # interface at the switch -> (number of the subject, side)
        for number in range(len(self._subjects)):
            for side, letter in enumerate("ab"):
                self._ends[f"ftsw-{planned.deployment['hosts'][f'{letter}{number}0']['port']}"] = number, side
        links = planned.nodes[LOGGERS[0]]
        self._logger = links.at_switch[links.data]

    def _join_hosts(self, number):
        """Put both hosts' interfaces into one namespace, where nobody answers by itself: tcpreplay needs both."""
        hosts = json.loads(Path("/run/ftmb/hosts.json").read_bytes())
        _run(f"b{number}0", f"ip link set ftb{number}0-d netns {hosts[f'a{number}0']['pid']}")
        _run(f"a{number}0", f"ip address flush dev fta{number}0-d; ip link set fta{number}0-d arp off; ip link set ftb{number}0-d arp off up")

    # --- playing

    def _play(self, capture):
        everybody = range(len(self._subjects))
        with self._sending(everybody, 1):
            self._wait_end(capture, everybody, 1)
        watched = self._watched_now(capture)
        for number, subject in enumerate(self._subjects):
            subject.prepare_rest(oracle.by_ident([frame for port, frame in watched[number].outputs if frame[:6] == subject.sides[port].mac]))
        if self._ways is None:
            with self._sending(everybody, 2):
                self._wait_end(capture, everybody, 2)
            return
        for first in range(0, len(self._subjects), SPARES):
            some = everybody[first:first + SPARES]
            begun = self._taken(some)
            with self._sending(some, 2):
                self._kill_meanwhile(some, begun)
                self._wait_end(capture, some, 2)
            client.heal()
            self._product("status", "--wait", "protected", "--timeout", "30")

    @contextlib.contextmanager
    def _sending(self, numbers, part):
        """tcpreplay for each subject of *numbers*, as long as it takes."""
        processes = [self._start(number, part) for number in numbers]
        try:
            yield
            for process in processes:
                said, _ = process.communicate(timeout=_PATIENCE_S)
                assert process.returncode == 0, said
        finally:
            for process in processes:
                process.kill()
                process.wait()

    def _start(self, number, part):
        subject = self._subjects[number]
        file = self._directory / f"{number}-{part}.pcap"
        write_pcap(file, [frame for _, frame in subject.parts[part - 1]])
        cache = file.with_suffix(".cache")
        # what the inside MAC address sends goes out of the first interface
        subprocess.run(["tcpprep", f"--mac={subject.sides[INSIDE].mac.hex(':')}", f"--pcap={file}", f"--cachefile={cache}"],
                       check=True, capture_output=True)
        return client.popen(f"a{number}0", ["tcpreplay", f"--intf1=fta{number}0-d", f"--intf2=ftb{number}0-d", f"--cachefile={cache}",
                                            f"--pps={PACKETS_PER_S}", str(file)],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def _wait_end(self, capture, numbers, part):
        """Return once the pings at the end of *part* are answered on both sides: all before them was processed."""
        wanted = {(number, side) for number in numbers for side in (INSIDE, OUTSIDE)}
        capture.wait_for(lambda seen: wanted <= {self._ends[interface] for interface, frame in seen
                                                 if interface in self._ends and _ends_part(frame, part)}, _PATIENCE_S)

    def _taken(self, numbers):
        """{number: frames that the switch has taken from its hosts}."""
        counts = dict.fromkeys(numbers, 0)
        for line in Path("/proc/net/dev").read_text(encoding="ascii").splitlines()[2:]:
            interface, _, fields = line.partition(":")
            number, _ = self._ends.get(interface.strip(), (None, None))
            if number in counts:
                counts[number] += int(fields.split()[_RECEIVED_PACKETS])
        return counts

    def _kill_meanwhile(self, numbers, begun):
        """Kill the master of each when a quarter of its second part was taken since *begun*."""
        alive, deadline = set(numbers), time.monotonic() + _PATIENCE_S
        while alive:
            taken = self._taken(alive)
            for number in sorted(alive):
                if taken[number] - begun[number] >= len(self._subjects[number].parts[1]) // 4:
                    client.kill(self._groups[number], "master", self._ways[number % len(self._ways)], node=f"m{number}")
                    alive.remove(number)
            assert time.monotonic() < deadline, "tcpreplay sends nothing"
            time.sleep(_POLL_S)

    # --- what was seen

    def _watched(self, capture):
        return [each._replace(inputs=oracle.log_of(each.inputs)) for each in self._watched_now(capture)]

    def _watched_now(self, capture):
        found = [oracle.Watched([], [], []) for _ in self._subjects]
        later = {end: [] for end in self._ends.values()}        # outputs since the last that ends a part there
        for interface, frame in capture.frames():
            if interface == self._logger:
                for each in taken_apart(frame):
                    hop = hop_of(each)
                    if hop is not None and hop[1] == HOP_INPUT:
                        epoch, _, item = decode_input(each)
                        found[hop[0] - 1].inputs.append((epoch, item))
            else:
                number, side = self._ends[interface]
                if frame[6:12] == self._subjects[number].sides[side].port_mac:
                    found[number].outputs.append((side, frame))
                    later[number, side].append((side, frame))
                    if _ends_part(frame, 2):
                        found[number].settled.extend(later[number, side])
                        later[number, side].clear()
        return found


def _ends_part(frame, part):
    """Whether *frame* answers a ping at the end of that part."""
    return len(frame) > _ICMP_TYPE_AT and frame[_ICMP_TYPE_AT] == ICMP_ECHO_REPLY and frame[_ICMP_REST_AT] == (0xE0D0000 | part).to_bytes(4, "big")


def _run(host, script):
    done = client.popen(host, ["sh", "-ec", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said, _ = done.communicate(timeout=_PATIENCE_S)
    assert done.returncode == 0, said
