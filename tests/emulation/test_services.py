"""Programs that know nothing of us, through the other functions while their masters die: wrk, nmap, nfdump, coturn; all in one network."""

import json
import re
import signal
import sys
import time
from collections import Counter

import pytest

from ftmb.chaos.queues import overruns
from ftmb.emulator import client
from middleboxes.sdk import Packet
from middleboxes.sdk.packet import ICMP

from .captures import read_pcap
from .many import configuration
from .product import TIMEOUT_S, Counting, Session, clean_machine
from .programs import Discovery

pytestmark = [pytest.mark.emulation, pytest.mark.filterwarnings("ignore:distutils:DeprecationWarning")]
LB, FIREWALL, MONITOR, NAT = range(4)
HOSTS = 2
VIRTUAL, SCANNED, MEASURED, COLLECTOR, STUN = "10.1.0.254", "10.2.1.1", "10.3.1.1", "10.3.1.2", ("10.4.1.1", "10.4.1.3")
FUNCTIONS = [
    ("load-balancer", ("clients", "backends"),
     {"services": [{"address": VIRTUAL, "port": 80, "protocol": "tcp", "sticky_s": 600,
                    "backends": [{"address": f"10.1.1.{host}"} for host in range(1, HOSTS + 1)]}]}),
    ("firewall", ("inside", "outside"),
     {"rules": [{"action": "accept", "from": "inside", "protocol": "tcp", "destination_ports": "80-82"},
                {"action": "reject", "protocol": "tcp", "destination_ports": 113}]}),
    ("monitor", ("inside", "outside"),
     {"collector": COLLECTOR, "flow_idle_timeout_s": 1, "flow_active_timeout_s": 2, "template_interval_s": 1}),
    ("nat", ("inside", "outside"), {"external_addresses": ["10.4.1.254"], "filtering": "address-and-port-dependent"}),
]
#: what nmap must say of each port
VERDICTS = {"80": "open", "81": "open", "82": "closed", "113": "closed", "22": "filtered", "443": "filtered"}
WAYS = ("process", "host", "process", "host")
_BACKEND = """
import http.server, socketserver, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version, name = "HTTP/1.1", sys.argv[1].encode()
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.name)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(self.name)
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    server_bind = socketserver.TCPServer.server_bind        # without a search for its own name
server = Server((sys.argv[2], int(sys.argv[3])), Handler)
print("serving", flush=True)
server.serve_forever()
"""
# tells each 10th answer, and in the end which backends answered and how many errors there were, by the keys of wrk's manual
_WRK_SCRIPT = """
local threads, answers = {}, 0
names = ""
function setup(thread) table.insert(threads, thread) end
function delay() return 50 end
function response(status, headers, body)
  if not string.find(names, body, 1, true) then names = names .. body .. " " end
  answers = answers + 1
  if answers % 10 == 0 then io.write("answers\\n") io.flush() end
end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('{"names": "%s", "answers": %d, "errors": [%d, %d, %d, %d, %d]}\\n', threads[1]:get("names"), summary.requests,
                         errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
"""


@pytest.fixture
def ftmb(tmp_path):
    """A network with all four; afterwards the machine must be as before."""
    path = tmp_path / "services.yaml"
    path.write_text(configuration([(*each, False) for each in FUNCTIONS], spares=len(FUNCTIONS), hosts=HOSTS), encoding="utf-8")
    with clean_machine(tmp_path) as product:
        product("up", str(path))
        yield product


class Requests(Counting):
    """wrk, from a client to the virtual address."""

    def __init__(self, product, host, directory, *how):
        script = directory / "wrk.lua"
        script.write_text(_WRK_SCRIPT, encoding="ascii")
        super().__init__(product, host, "^answers$", "wrk", "-t", "1", "-c", "4", "-d", "600", "--timeout", "20", "-s", str(script), *how,
                         f"http://{VIRTUAL}/")

    def finish(self):
        """End it: no socket error, no timeout, and one backend has answered all."""
        _, said = self.end(signal.SIGINT)
        told = json.loads(re.findall(r"^\{.*\}$", said, re.MULTILINE)[0])
        assert told["errors"] == [0] * 5 and told["answers"] > 50, said
        assert told["names"].strip() in ("backend1", "backend2"), f"one client, one backend: {told}"


def scans(ftmb, started, *how):
    """nmap's two kinds of scan, under way: half-open, and by connections."""
    return [started(Session(ftmb, f"a{FIREWALL}0", "nmap", "-n", "-Pn", kind, "-p", ",".join(VERDICTS), "--max-retries", "2", *how, "-oG", "-", SCANNED))
            for kind in ("-sS", "-sT")]


def verdicts(scans):
    """[{port: state}] that they say in the end."""
    ended = [scan.end() for scan in scans]
    assert all(code == 0 for code, _ in ended), ended
    return [dict(re.findall(r"(\d+)/([a-z|]+)/tcp", re.search("Ports: (.*)", said)[1])) for _, said in ended]


class Export:
    """nfcapd as the monitor's collector, and a capture at the server whose traffic is counted."""

    def __init__(self, ftmb, started, directory):
        self._ftmb, self._flows, self._file = ftmb, directory / "flows", directory / "server.pcap"
        self._flows.mkdir()
        collector = started(Session(ftmb, f"b{MONITOR}1", "nfcapd", "-w", str(self._flows), "-p", "4739", "-t", "2"))
        collector.wait_for("Startup")
        self._capture = started(Session(ftmb, f"b{MONITOR}0", "tcpdump", "-n", "-U", "--immediate-mode", "-s", "128", "-Z", "root",
                                        "-i", f"ftb{MONITOR}0-d", "-w", str(self._file), "ip"))
        self._capture.wait_for("listening on")

    def counted(self):
        """{flow: (packets, octets)} at the server, of the capture that ends now."""
        code, said = self._capture.end(signal.SIGINT)
        assert code == 0 and "\n0 packets dropped by kernel" in said, said
        packets, octets = Counter(), Counter()
        for frame in read_pcap(self._file):
            header = Packet(frame.ljust(2048, b"\0")).ipv4()
            at = header.payload_start
            ports = (0, 0) if header.protocol == ICMP else (int.from_bytes(frame[at:at + 2], "big"), int.from_bytes(frame[at + 2:at + 4], "big"))
            flow = header.protocol, _dotted(header.source), ports[0], _dotted(header.destination), ports[1]
            packets[flow] += 1
            octets[flow] += header.payload_end - 14
        return {flow: (packets[flow], octets[flow]) for flow in packets}

    def wait_told(self, counted, lost):
        """Return once nfdump tells the same, but for so many *lost* packets."""
        deadline = time.monotonic() + TIMEOUT_S
        while (difference := _difference(told := self._told(), counted)) > lost:
            assert time.monotonic() < deadline, f"{difference} packets differ: nfdump tells {told}, captured are {counted}"
            time.sleep(0.5)         # it writes a file every two seconds
        if not lost:
            assert told == counted, "the same octets, too"

    def _told(self):
        said = self._ftmb("exec", f"b{MONITOR}1", "--", "nfdump", "-R", str(self._flows), "-q", "-N", "-o", "fmt:%pr;%sa;%sp;%da;%dp;%pkt;%byt",
                          code=None).stdout
        found = {}
        for line in said.splitlines():
            protocol, source, source_port, destination, destination_port, packets, octets = (field.strip() for field in line.split(";"))
            number = int(protocol) if protocol.isdigit() else {"TCP": 6, "UDP": 17, "ICMP": 1}[protocol]
            flow = number, source, *((0, destination, 0) if number == ICMP else (int(source_port), destination, int(destination_port)))
            before = found.get(flow, (0, 0))
            found[flow] = before[0] + int(packets), before[1] + int(octets)
        return found


def _difference(told, counted):
    return sum(abs(told.get(flow, (0, 0))[0] - counted.get(flow, (0, 0))[0]) for flow in {*told, *counted})


def _dotted(address):
    return ".".join(map(str, address.to_bytes(4, "big")))


@pytest.fixture
def started():
    """Ends, after the test, whatever the test put into it."""
    sessions = []
    yield lambda session: sessions.append(session) or session
    for session in reversed(sessions):
        session.stop()


def serve(ftmb, started, host, *arguments):
    """An HTTP server."""
    server = started(Session(ftmb, host, sys.executable, "-c", _BACKEND, *arguments))
    server.wait_for("serving")


def test_programs_live_through_the_deaths_of_all_masters(ftmb, started, tmp_path):
    """wrk meets no error and one backend per client, nmap's verdict stays, the exported totals are those of a capture, the NAT behaves as before."""
    for number in range(1, HOSTS + 1):
        serve(ftmb, started, f"b{LB}{number - 1}", f"backend{number}", f"10.1.1.{number}", "80")
    for port in ("80", "81"):
        serve(ftmb, started, f"b{FIREWALL}0", "scanned", SCANNED, port)
    ftmb("exec", f"b{NAT}0", "--", "ip", "address", "add", f"{STUN[1]}/24", "dev", f"ftb{NAT}0-d")
    discovery = Discovery(ftmb, started, f"a{NAT}0", f"b{NAT}0", STUN, "10.4.0.1", tmp_path)
    asked = discovery.begin()
    export, lost = Export(ftmb, started, tmp_path), sum(overruns().values())
    ping = started(Counting(ftmb, f"a{MONITOR}0", "bytes from", "ping", "-i", "0.05", MEASURED))
    far = started(Counting(ftmb, f"b{MONITOR}0", "bits/sec", "iperf3", "-s", "-1", "-i", "0.2", "--forceflush"))
    far.wait_for("Server listening")
    near = started(Session(ftmb, f"a{MONITOR}0", "iperf3", "-c", MEASURED, "-t", "600", "-i", "0", "-b", "500K"))
    # one keeps its connections, the other makes a new one for each request
    kept, renewed = (started(Requests(ftmb, f"a{LB}{number}", tmp_path, *how)) for number, how in enumerate(((), ("-H", "Connection: close"))))
    before, behaviour = verdicts(scans(ftmb, started)), discovery.report(asked)
    assert behaviour[0] == ["NAT with Endpoint Independent Mapping!", "NAT with Address and Port Dependent Filtering!"]
    for program in (kept, renewed, ping, far):
        program.goes_on()
    # with six ports it takes longer than the kills
    during = scans(ftmb, started, "--scan-delay", "500ms")
    for number, how in enumerate(WAYS):
        client.kill(f"g{number}", "master", how, node=f"m{number}")
    asked = discovery.begin()
    for program in (kept, renewed, ping, far):
        program.goes_on()
    assert [len(group["failovers"]) for group in ftmb.status()["groups"]] == [1] * len(FUNCTIONS), "each master was replaced"
    assert before == verdicts(during) == verdicts(scans(ftmb, started)) == [VERDICTS] * 2
    assert discovery.report(asked) == behaviour
    assert ping.end(signal.SIGINT)[0] == 0
    assert "the client has terminated" in near.end(signal.SIGINT)[1]
    kept.finish()
    renewed.finish()
    export.wait_told(export.counted(), sum(overruns().values()) - lost)
