"""Processors that stay awake while a node is busy.

A processor without work sleeps, and wakes late: a few us from light sleep, over a hundred from deep one, tens where it is a virtual machine's
and its host has to wake first. A packet pays that at each hop that it finds asleep. So while much comes a node asks the kernel for processors that
wake in time (PM QoS, Documentation/power/pm_qos_interface.rst). That is for all processors and costs energy, so it is withdrawn when
little comes; it also ends with the process, however that ends. docs/performance.md has what it gives.
"""

import struct

DEVICE = "/dev/cpu_dma_latency"
DRIVER = "/sys/devices/system/cpu/cpuidle/current_driver"
#: when they stay awake, by default the first
WHEN = ("busy", "never")
#: A node that has taken so many turns in an interval expects the next packet soon. Looking costs an idle node more than it seems, as all that is cold.
BUSY_TURNS, INTERVAL_NS = 250, 500_000_000
#: how long waking may take: light sleep is allowed
WAKE_US_MAX = 10
#: Its two states are to run on and to leave the processor to the host, of which it says that it takes 1 us: only 0 rules that out.
_GUEST_DRIVER = "haltpoll"
#: PM_QOS_CPU_LATENCY_DEFAULT_VALUE (linux/pm_qos.h): asks for nothing
_ANY_US = 2_000_000_000


class Request:
    """This process's request for processors that stay awake: none before ``make`` and after ``withdraw``. Raises OSError: the kernel can't be asked."""

    def __init__(self, device=DEVICE, driver=DRIVER):
        self._file = open(device, "r+b", buffering=0)      # not "w", which makes a file where there is no device
        self._wake_us = _wake_us(driver)

    def make(self):
        """Have it."""
        self._file.write(struct.pack("i", self._wake_us))

    def withdraw(self):
        """Have it no more."""
        self._file.write(struct.pack("i", _ANY_US))

    def close(self):
        """Never have it again."""
        self._file.close()


def _wake_us(driver):
    """What to ask for: how long waking may take, where *driver* says what puts processors to sleep."""
    try:
        with open(driver, encoding="ascii") as file:
            return 0 if file.read().strip() == _GUEST_DRIVER else WAKE_US_MAX
    except FileNotFoundError:       # nothing that could be told how deep
        return WAKE_US_MAX


class Awake:
    """Has *request* made while what *turns* returns, a count, grows fast. It is looked at each INTERVAL_NS."""

    def __init__(self, loop, turns, request):
        self._loop, self._turns, self._request = loop, turns, request
        self._seen, self.busy = turns(), False
        self._again()

    def _again(self):
        self._loop.ease(self._loop.after(INTERVAL_NS, self._look), INTERVAL_NS // 4)

    def _look(self):
        turns = self._turns()
        busy, self._seen = turns - self._seen >= BUSY_TURNS, turns
        if busy != self.busy:
            self.busy = busy
            (self._request.make if busy else self._request.withdraw)()
        self._again()
