"""When the next kill may come: everybody is there, and the spare has what was durable."""

import pytest

from ftmb.bench.gap import readiness

from .samples import status


def test_the_network_is_whole_when_it_is_protected_and_nobody_is_dead():
    assert readiness.is_whole(status(), "nat1")
    assert not readiness.is_whole(status(state="unprotected"), "nat1")
    assert not readiness.is_whole(status(dead=["m3"]), "nat1")


@pytest.mark.parametrize("kind, now, ready", [
    ("warm", status(checkpoint=7), True), ("warm", status(checkpoint=8), True), ("warm", status(checkpoint=6), False),
    ("warm", status(recovering=True), False), ("warm", status(spare=None), False), ("warm", status(spare="m3"), False),
    ("hot", status(hot=True, behind_steps=3), True), ("hot", status(hot=True, behind_steps=4), False),
    ("hot", status(hot=False, behind_steps=0), False), ("hot", status(checkpoint=6, hot=True, behind_steps=0), False),
    ("cold", status(spare=None), True)])
def test_a_spare_is_ready_with_the_checkpoint_that_was_durable_and_a_hot_one_with_the_masters_steps(kind, now, ready):
    assert readiness.is_ready(now, "nat1", kind, readiness.checkpoint(now, "nat1"), 3) == ready


def test_a_store_that_has_nothing_or_says_nothing_has_no_checkpoint():
    silent = status()
    silent["hosts"][0]["beat"] = []
    assert readiness.checkpoint(silent, "nat1") is None and readiness.checkpoint(status(), "nat1") == 7


def test_a_kill_s_failover_is_the_first_of_the_master_after_it():
    group = {"failovers": [{"role": "master", "at_ns": 5}, {"role": "store", "at_ns": 12}, {"role": "master", "at_ns": 14}, {"role": "master", "at_ns": 30}]}
    assert readiness.masters_failover(group, 10)["at_ns"] == 14
    assert readiness.masters_failover(group, 30) is None
