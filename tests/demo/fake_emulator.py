"""Stands in for ftmb.emulator.client: two namespaces and a router between them, whose "death" is a short stop of forwarding."""

import os
import subprocess
import time

ADDRESS = "192.0.2.1"


def ip(*words):
    """Run the program ip."""
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class FakeEmulator:
    """The interface that the demo uses. A killed master forwards nothing for *outage_s*; with *recovers* False, for ever."""

    def __init__(self, outage_s=0.02, recovers=True):
        self._outage_s, self._recovers = outage_s, recovers
        tag = f"ft{os.getpid()}"
        self._names = {"client1": tag + "c", "router": tag + "r", "server1": tag + "s"}
        self._failovers, self._masters = [], ["m1", "m2", "m3"]
        self._dead = set()
        self.is_up = False
        self.healed = []

    def up(self, configuration, ryu_apps=(), recovery=True, progress=None):
        assert configuration == "single" and not ryu_apps
        self._recovers = self._recovers and recovery
        self.is_up = True
        for name in self._names.values():
            ip("netns", "add", name)
        self._join("client1", "10.0.0.1/24", "10.0.0.254/24")
        self._join("server1", ADDRESS + "/24", "192.0.2.254/24")
        self._forward(True)
        progress("up")

    def _join(self, host, address, router_address):
        name, router = self._names[host], self._names["router"]
        interface = "ft-" + host[0]
        ip("link", "add", interface, "netns", router, "type", "veth", "peer", "name", "ft0", "netns", name)
        for space, device, own in ((name, "ft0", address), (router, interface, router_address)):
            ip("-n", space, "address", "add", own, "dev", device)
            ip("-n", space, "link", "set", device, "up")
        ip("-n", name, "route", "add", "default", "via", router_address.split("/")[0])

    def _forward(self, on):
        subprocess.run(["ip", "netns", "exec", self._names["router"], "sh", "-c",
                        f"echo {int(on)} > /proc/sys/net/ipv4/ip_forward"], check=True)

    def status(self):
        state = "protected" if self._recovers or not self._failovers else "lost"
        return {"groups": [{"name": "nat", "master": self._masters[0], "state": state, "readiness": "warm",
                            "failovers": list(self._failovers)}],
                "hosts": [{"name": name, "role": "spare", "alive": name not in self._dead} for name in self._masters]}

    def kill(self, group, role, how="process"):
        assert (group, role) == ("nat", "master")
        node = self._masters.pop(0)
        self._masters.append(node)
        self._dead.add(node)
        at_ns = time.monotonic_ns()
        self._forward(False)
        if self._recovers:
            time.sleep(self._outage_s)      # the outage itself
            self._forward(True)
        self._failovers.append({"role": "master", "cause": "killed", "at": 0, "detect_ms": 1.0, "fence_ms": 1.0,
                                "load_ms": 1.0, "replay_ms": 1.0, "redirect_ms": 1.0, "total_ms": 5.0,
                                "replayed_packets": 3, "timeline": [{"what": "detected", "at_ns": at_ns + 1_000_000}]})
        return {"at_ns": at_ns}

    def heal(self, host=None):
        self.healed.append(host)
        self._dead.discard(host)

    def down(self):
        self.is_up = False
        have = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
        for name in self._names.values():
            if name in have:
                ip("netns", "delete", name)

    def host_address(self, name):
        assert name == "server1"
        return ADDRESS

    def popen(self, host, argv, **keywords):
        return subprocess.Popen(["ip", "netns", "exec", self._names[host], *argv], **keywords)
