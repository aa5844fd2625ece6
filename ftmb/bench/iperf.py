"""``ftmb bench --iperf``: what iperf3 gets through a protected NAT in the emulated network, TCP and loss-free UDP."""

import contextlib
import json
import subprocess
import sys

from ..demo.progress import Progress
from ..errors import UsageError
from ..running import undisturbed, write_json

CONFIGURATION, CLIENT, SERVER = "single", "client1", "server1"
UDP_MBIT_S = (10, 20, 30, 40, 60, 80, 100, 150, 200, 300)
DATAGRAM_BYTES = 1400
#: a machine that does something else for a moment loses something, too: a rate is loss-free if it is so once
_TRIES = 3
_SECONDS, _QUICK_SECONDS, _QUICK_RATES = 5, 1, 3
_MORE_S = 20
_LISTENING = b"Server listening"


def main(args, emulator=None, stream=None, errors=None):
    """Measure; return the exit code, 0. Raises UsageError."""
    if emulator is None:
        from ..emulator import client as emulator
    progress, table = Progress(errors or sys.stderr), Progress(stream or sys.stdout)
    seconds, rates = (_QUICK_SECONDS, UDP_MBIT_S[:_QUICK_RATES]) if args.quick else (_SECONDS, UDP_MBIT_S)
    with contextlib.ExitStack() as stack:
        emulator.up(CONFIGURATION, progress=progress.live)
        stack.callback(_down, emulator)
        progress.line("TCP")
        result = {"machine": args.machine, "seconds": seconds, "tcp": tcp(_run(emulator, seconds)), "udp": []}
        for rate in rates:
            progress.line(f"UDP, {rate} Mbit/s")
            tries = []
            while len(tries) < _TRIES and not any(found["lost"] == 0 for found in tries):
                tries.append(udp(rate, _run(emulator, seconds, "-u", "-b", f"{rate}M", "-l", str(DATAGRAM_BYTES))))
            result["udp"].append(min(tries, key=lambda found: found["lost"]))
            if result["udp"][-1]["lost"]:
                break                   # it would be no better at a higher one
    for line in lines(result):
        table.line(line)
    if args.json:
        write_json(args.json, result)
    return 0


def _down(emulator):
    with undisturbed():
        emulator.down()


def _run(emulator, seconds, *words):
    """What a client of iperf3 tells, as JSON, of *seconds* against a server of its own. Raises UsageError."""
    server = emulator.popen(SERVER, ["iperf3", "-s", "-1", "--forceflush"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)
    try:
        while _LISTENING not in (line := server.stdout.readline()):
            if not line:
                raise UsageError("bench: iperf3 does not listen (apt-get install iperf3)")
        client = emulator.popen(CLIENT, ["iperf3", "-c", emulator.host_address(SERVER), "-J", "-t", str(seconds), *words],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            told, _ = client.communicate(timeout=seconds + _MORE_S)
            found = json.loads(told)
        except (subprocess.TimeoutExpired, ValueError) as error:
            raise UsageError(f"bench: iperf3 does not end, or tells no result: {error}") from error
        finally:
            client.kill()
            client.communicate()
    finally:
        server.kill()
        server.communicate()
    if "error" in found:
        raise UsageError(f"bench: iperf3: {found['error']}")
    return found


def tcp(found):
    """Of a run of TCP: {"mbit_s", "retransmits"}."""
    return {"mbit_s": found["end"]["sum_received"]["bits_per_second"] / 1e6, "retransmits": found["end"]["sum_sent"]["retransmits"]}


def udp(rate, found):
    """Of a run of UDP at *rate*: {"rate_mbit_s", "sent", "lost"}."""
    total = found["end"]["sum"]
    return {"rate_mbit_s": rate, "sent": total["packets"], "lost": total["lost_packets"]}


def loss_free(rows):
    """The highest rate, in Mbit/s, that lost nothing; 0 if every one did."""
    return max((row["rate_mbit_s"] for row in rows if row["lost"] == 0), default=0)


def lines(result):
    """*result* as text."""
    text = [f"TCP: {result['tcp']['mbit_s']:.0f} Mbit/s, {result['tcp']['retransmits']} segments sent again"]
    text += [f"UDP at {row['rate_mbit_s']} Mbit/s: {row['lost']} of {row['sent']} datagrams of {DATAGRAM_BYTES} bytes lost"
             for row in result["udp"]]
    return text + [f"loss-free: up to {loss_free(result['udp'])} Mbit/s"]
