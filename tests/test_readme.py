"""The README's own code does what it says."""

import pathlib
import re

from middleboxes.core.frames import PACKET, Input
from middleboxes.core.master import Master
from middleboxes.sdk import Port
from middleboxes.sdk.build import ARP_REQUEST, NO_MAC, arp, ipv4, udp
from middleboxes.sdk.packet import UDP

README = pathlib.Path(__file__).parent.parent / "README.md"
CLIENT, SERVER = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"


def address(text):
    return int.from_bytes(bytes(map(int, text.split("."))), "big")


def test_the_middlebox_of_the_readme_routes_and_counts():
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert code.count("\n") <= 25, "the README promises about 20 lines"
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    ports = [Port.parse("inside", "02:00:5e:00:01:01", "10.0.0.254/24"),
             Port.parse("outside", "02:00:5e:00:01:02", "192.0.2.254/24")]
    master = Master(names["Talkers"]({}, ports), 1, b"\x02" * 6, 1, [1])
    client, server = address("10.0.0.1"), address("192.0.2.1")
    frames = [(0, ipv4(ports[0].mac, CLIENT, UDP, client, server, udp(client, 1000, server, 2000, b"hello"))),
              (1, arp(ARP_REQUEST, SERVER, server, NO_MAC, address("192.0.2.254")))]
    outputs = []
    for n, (port, frame) in enumerate(frames, 1):
        outputs += master.process(0, Input(n, n, port, PACKET, frame))
    assert any(output.endswith(b"hello") for output in outputs), "the packet waited for ARP, and then went out"
    assert dict(master.function.packets) == {client: 1}
