"""Unmodified Ryu apps beside ours: they work before, while and after a master dies, their flow entries are those that
they have on the same network without us, byte for byte, and so is what they answer when asked for them."""

import json
import re
import threading

import pytest

from .neighbours import COOKIE, alone, beside, entries, single, until

pytestmark = [pytest.mark.emulation, pytest.mark.filterwarnings("ignore:distutils:DeprecationWarning")]
SWITCH = "0000000000000001"
TOP_OF_ALL = 64536      # our band reaches to the highest priority
NORMAL = {"type": "OUTPUT", "port": 0xfffffffa}


class App:
    """What to do with an app: once at the beginning, and to see that it works."""

    modules, priority = (), 40000
    rounds = 3          # of ``check`` before its entries are taken as those that it has alone

    def prepare(self, world):
        """Set it up."""

    def check(self, world):
        """Fail unless it does what it is for."""
        assert world.pings("a1", "10.9.0.2")

    def rules(self, answer, result, name):
        """The rules in an *answer* of one switch; by their priority ours are told apart."""
        (switch,) = answer
        (of_vlan,) = switch[result]
        return _sorted(rule for rule in of_vlan[name] if rule["priority"] < self.priority)

    def told(self, world):
        """What it answers when it is asked for its entries, without those of ours, in a fixed order."""


class LearningSwitch(App):
    modules = ("ryu.app.simple_switch_13",)


class Monitor(App):
    """Every ten seconds it writes what its entries have counted."""

    modules = ("ryu.app.simple_monitor_13",)
    rounds = 1          # more packets change nothing in what it has learnt from the first

    def check(self, world):
        super().check(world)
        before = self._packets(world)
        until(lambda: self._packets(world) > before, "a line with more packets than before")

    @staticmethod
    def _packets(world):
        rows = re.findall(r"^0000000000000001 +[0-9a-f]+ (?:[0-9a-f]{2}:){5}[0-9a-f]{2} +[0-9a-f]+ +(\d+) +\d+$",
                          world.log.read_text(errors="replace"), re.MULTILINE)
        return max(map(int, rows), default=0)


class Rest(App):
    """Adds a flow, and reads what is there."""

    modules = ("ryu.app.ofctl_rest",)

    def prepare(self, world):
        world.wait_for_rest("/stats/switches")
        world.rest("POST", "/stats/flowentry/add", {"dpid": 1, "table_id": 0, "priority": 7, "actions": [NORMAL]})

    def check(self, world):
        super().check(world)
        mine = [flow for flow in world.rest("GET", "/stats/flow/1")["1"] if flow["priority"] == 7]
        assert [flow["actions"] for flow in mine] == [["OUTPUT:NORMAL"]]
        assert isinstance(world.rest("GET", "/stats/groupdesc/1")["1"], list)

    def told(self, world):
        counts = ("duration_sec", "duration_nsec", "packet_count", "byte_count")
        return _sorted({name: value for name, value in flow.items() if name not in counts}
                       for flow in world.rest("GET", "/stats/flow/1")["1"] if flow["cookie"] >> 32 != COOKIE)


class Firewall(App):
    """Drops all until it is enabled, and then what no rule allows; takes all ARP, just below the highest priority."""

    modules, priority = ("ryu.app.rest_firewall",), TOP_OF_ALL

    def prepare(self, world):
        world.wait_for_rest("/firewall/module/status")
        world.rest("PUT", "/firewall/module/enable/all")
        for source, destination in (("10.9.0.1", "10.9.0.2"), ("10.9.0.2", "10.9.0.1")):
            answer = world.rest("POST", f"/firewall/rules/{SWITCH}", {
                "nw_src": f"{source}/32", "nw_dst": f"{destination}/32", "nw_proto": "ICMP"})
            assert "success" in str(answer)

    def check(self, world):
        super().check(world)
        assert not world.pings("r1", "172.16.1.254") and not world.pings("client1", "10.0.0.2"), "no rule allows it"

    def told(self, world):
        return [world.rest("GET", "/firewall/log/status"),
                *self.rules(world.rest("GET", f"/firewall/rules/{SWITCH}"), "access_control_list", "rules")]


class Router(App):
    """Routes between two subnets, whose gateway it is."""

    modules = ("ryu.app.rest_router",)

    def prepare(self, world):
        world.wait_for_rest(f"/router/{SWITCH}")
        for address in ("172.16.1.254/24", "172.16.2.254/24"):
            assert "success" in str(world.rest("POST", f"/router/{SWITCH}", {"address": address}))

    def check(self, world):
        until(lambda: world.pings("r1", "172.16.2.1"), "an answer through the router", 20)
        assert world.pings("r2", "172.16.1.1")

    def told(self, world):
        return world.rest("GET", f"/router/{SWITCH}")


class Quality(App):
    """Marks what matches with a DSCP, in table 0; what forwards is in table 1."""

    modules = ("ryu.app.rest_qos", "ryu.app.rest_conf_switch", "ryu.app.ofctl_rest")
    receive = ("import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 5002)); s.settimeout(20);"
               "s.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1); print('ready', flush=True);"
               "print(s.recvmsg(100, 100)[1][0][2][0] >> 2)")
    send = ("import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "for _ in range(40): s.sendto(b'x', ('10.9.0.2', 5002)); time.sleep(0.05)")

    def prepare(self, world):
        world.wait_for_rest("/stats/switches")
        world.rest("POST", "/stats/flowentry/add", {"dpid": 1, "table_id": 1, "priority": 1, "actions": [NORMAL]})
        answer = world.rest("POST", f"/qos/rules/{SWITCH}", {
            "match": {"nw_dst": "10.9.0.2", "nw_proto": "UDP", "tp_dst": "5002"}, "actions": {"mark": "26"}})
        assert "success" in str(answer)

    def check(self, world):
        super().check(world)
        sender = threading.Thread(target=world.run, args=("a1", "python3", "-c", self.send))
        sender.start()
        try:
            assert world.run("a2", "python3", "-c", self.receive) == (0, "ready\n26\n")
        finally:
            sender.join()

    def told(self, world):
        return self.rules(world.rest("GET", f"/qos/rules/{SWITCH}"), "command_result", "qos")


def _sorted(values):
    return sorted(values, key=lambda value: json.dumps(value, sort_keys=True))


def _middlebox_works(world):
    assert world.pings("client1", "192.0.2.1"), "through the NAT"


@pytest.mark.parametrize("app", [LearningSwitch(), Monitor(), Rest(), Firewall(), Router(), Quality()],
                         ids=lambda app: app.modules[0])
def test_it_works_beside_ours_and_its_entries_are_those_without_us(tmp_path, app):
    file = single(tmp_path, app.priority)
    with alone(tmp_path, file, *app.modules) as world:
        app.prepare(world)
        for _ in range(app.rounds):
            app.check(world)
        expected, told = entries("fts1"), app.told(world)
    assert expected
    with beside(tmp_path, file, *app.modules) as world:
        app.prepare(world)
        group = world.product.wait_protected()
        app.check(world)
        _middlebox_works(world)
        before, told_before = entries("fts1"), app.told(world)
        meanwhile = _Checking(app, world)
        world.product("kill", "nat", "master", "--how", "host")
        meanwhile.ended_well()
        assert world.product.wait_protected()["master"] != group["master"]
        app.check(world)
        _middlebox_works(world)
        assert entries("fts1", ours=True)
        assert (before, entries("fts1")) == (expected, expected)
        assert (told_before, app.told(world)) == (told, told)


class _Checking(threading.Thread):
    """The check of an app that goes on at the same time."""

    def __init__(self, app, world):
        super().__init__()
        self._app, self._world, self._well = app, world, False
        self.start()

    def run(self):
        self._app.check(self._world)
        self._well = True

    def ended_well(self):
        """Wait for its end."""
        self.join()
        assert self._well


def test_on_several_switches_everybodys_entries_are_listed_too(tmp_path):
    """Between switches our rules have an action that there is not on one."""
    with beside(tmp_path, "tree", "ryu.app.ofctl_rest", "ryu.app.rest_router") as world:
        listed = [flow for switch in world.rest("GET", "/stats/switches") for flow in world.rest("GET", f"/stats/flow/{switch}")[str(switch)]]
        ours = [flow for flow in listed if flow["cookie"] >> 32 == COOKIE]
        assert any("SET_FIELD: {in_port_nxm:0}" in flow["actions"] for flow in ours)
        assert len(world.rest("GET", "/router/all")) == 3
        _middlebox_works(world)
