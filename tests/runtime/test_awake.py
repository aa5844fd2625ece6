"""Processors stay awake while a node is busy: what the kernel is asked for, and when."""

import json
import struct

import pytest

from middleboxes.runtime.__main__ import read_settings
from middleboxes.runtime.awake import BUSY_TURNS, INTERVAL_NS, WAKE_US_MAX, Awake, Request

ANY_US = 2_000_000_000


@pytest.fixture
def device(tmp_path):
    path = tmp_path / "device"
    path.touch()
    return path


def asked(device):
    """What was written, in us."""
    return list(struct.unpack(f"{device.stat().st_size // 4}i", device.read_bytes()))


def test_light_sleep_is_allowed_and_none_where_the_kernel_knows_not_how_deep_it_is(device, tmp_path):
    driver = tmp_path / "driver"
    for name, wake_us in (("intel_idle", WAKE_US_MAX), ("haltpoll", 0)):
        driver.write_text(name + "\n")
        device.write_bytes(b"")
        request = Request(device, driver)
        assert asked(device) == [], "none before it is made"
        request.make()
        request.withdraw()
        request.close()
        assert asked(device) == [wake_us, ANY_US]


def test_without_a_driver_light_sleep_is_asked_for(device, tmp_path):
    Request(device, tmp_path / "none").make()
    assert asked(device) == [WAKE_US_MAX]


def test_a_kernel_that_cannot_be_asked_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing here"):
        Request(tmp_path / "nothing here")


class Watched:
    """An Awake whose intervals pass when a test says so: its loop and its request are this."""

    def __init__(self):
        self.turns, self.made, self.eased = 0, [], []
        self._due = None
        self.awake = Awake(self, lambda: self.turns, self)

    def after(self, delay_ns, function):
        assert delay_ns == INTERVAL_NS and self._due is None
        self._due = function
        return function

    def ease(self, timer, slack_ns):
        assert timer is self._due and 0 < slack_ns < INTERVAL_NS
        self.eased.append(timer)

    def make(self):
        self.made.append(True)

    def withdraw(self):
        self.made.append(False)

    def interval(self, turns):
        """One in which the node takes *turns*; what was asked for until then."""
        self.turns += turns
        due, self._due = self._due, None
        due()
        return self.made


def test_processors_stay_awake_while_a_node_is_busy_and_no_longer():
    watched = Watched()
    assert watched.interval(0) == watched.interval(BUSY_TURNS - 1) == []
    assert watched.interval(BUSY_TURNS) == [True]
    assert watched.interval(10_000) == [True], "it is asked once"
    assert watched.interval(BUSY_TURNS - 1) == [True, False]
    assert watched.interval(0) == [True, False]
    assert watched.interval(BUSY_TURNS) == [True, False, True]
    assert len(watched.eased) == 8, "and looked at in each interval, when the node is awake anyway"


def test_a_role_that_is_dropped_takes_its_turns_with_it():
    watched = Watched()
    watched.interval(1000)
    assert watched.interval(-900) == [True, False]
    assert watched.interval(BUSY_TURNS) == [True, False, True]


def test_a_node_file_says_when_by_name(tmp_path):
    settings = {"node": "m", "key_file": "none", "controller": [], "service": [], "data_interface": "d", "heartbeat_interval_ms": 50, "stay_awake": "always"}
    path = tmp_path / "node.json"
    path.write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="node.json: 'stay_awake' must be one of busy, never"):
        read_settings(str(path))
