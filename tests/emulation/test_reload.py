"""A new version of a middlebox's code comes into force by a planned move; state and connections stay."""

import pytest
import yaml

from ftmb import config

from .product import clean_machine

pytestmark = [pytest.mark.emulation, pytest.mark.filterwarnings("ignore:distutils:DeprecationWarning")]

CODE = '''"""An IPv4 hop that counts packets by their source, and lets pings pass or not."""
from middleboxes.functions.router import Ipv4Router
from middleboxes.sdk import Map
from middleboxes.sdk.packet import ICMP


class Talkers(Ipv4Router):
    ports = ("inside", "outside")
    packets = Map()

    def configure(self, parameters):
        self.configure_router()

    def process(self, packet, ctx):
        header = packet.ipv4()
        if header is None:
            self.process_arp(packet, ctx)
        elif header.protocol != ICMP or {lets_pings_pass}:
            self.packets[header.source] = self.packets.get(header.source, 0) + 1
            self.transmit(packet.data, header.destination, ctx)
'''


@pytest.fixture
def ftmb(tmp_path, monkeypatch):
    """The network ``single`` with the code above in the place of the NAT."""
    (tmp_path / "talkers.py").write_text(CODE.format(lets_pings_pass=True), encoding="ascii")
    document = yaml.safe_load((config.CONFIGURATIONS / "single.yaml").read_text(encoding="utf-8"))
    document["groups"]["nat"].update(function="talkers:Talkers", parameters={})
    for name in ("server1", "server2"):
        document["network"]["hosts"][name]["gateway"] = "192.0.2.254"
    (tmp_path / "talkers.yaml").write_text(yaml.safe_dump(document), encoding="ascii")
    with clean_machine(tmp_path) as product:
        product("up", "talkers.yaml")
        yield product


def ping(ftmb, code=0):
    ftmb("exec", "client1", "--", "ping", "-c", "1", "-W", "2", "192.0.2.1", code=code)


def test_a_reload_brings_the_code_on_disk_into_force(ftmb):
    """Each move goes to a process that has loaded the code before; one without --reload is the contrast."""
    ping(ftmb)
    (ftmb.directory / "talkers.py").write_text(CODE.format(lets_pings_pass=False), encoding="ascii")
    assert "m2 is the master of nat now" in ftmb("move", "nat").stdout
    ftmb.wait_protected()
    ping(ftmb)
    assert "m1 is the master of nat now" in ftmb("move", "nat", "--to", "m1", "--reload").stdout
    ftmb.wait_protected()
    ping(ftmb, code=1)
    assert "not" in ftmb("move", "nat", "--to", "il", code=2).stderr
