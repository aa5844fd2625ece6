"""Apps that list everybody's flow entries can list ours: Ryu's own translation, and that of the two that name Ethernet types."""

import random

import pytest
from random_networks import random_deployment, random_steering

import web  # noqa: F401 (it makes Ryu's web server load)
from ryu.app import rest_firewall, rest_qos
from ryu.lib import ofctl_v1_3
from ryu.ofproto import ofproto_v1_3
from ryu.ofproto.ofproto_protocol import ProtocolDesc
from ryu_app.openflow import Codec
from ryu_app.reconcile import ADD, Change
from ryu_app.steering import wanted

DATAPATH = ProtocolDesc(ofproto_v1_3.OFP_VERSION)


def _sent_and_read(flow, cookie):
    """The flow mod of *flow* as it is once it was on the wire."""
    message = Codec(flow.switch, DATAPATH, cookie).change(Change(ADD, flow))
    message.set_xid(1)
    message.serialize()
    return DATAPATH.ofproto_parser.OFPFlowMod.parser(DATAPATH, message.version, message.msg_type, message.msg_len, 1, message.buf)


@pytest.mark.parametrize("seed", range(10))
def test_every_entry_of_ours_can_be_listed_by_apps_that_fail_on_what_they_do_not_know(seed):
    rng = random.Random(seed)
    deployment = random_deployment(rng, ipv6=True)
    flows, _ = wanted(deployment, random_steering(rng, deployment))
    assert flows
    for flow in flows:
        message = _sent_and_read(flow, deployment.cookie)
        assert Codec(flow.switch, DATAPATH, deployment.cookie).flows([message]) == [flow], "we read what we wrote"
        listed = {"match": ofctl_v1_3.match_to_str(message.match), "actions": ofctl_v1_3.actions_to_str(message.instructions)}
        for app in (rest_firewall, rest_qos):
            rule = {**app.Match.to_rest(listed), **app.Action.to_rest(listed)}
            assert rule.get("dl_type") in (None, "ARP", "IPv6")
            assert set(rule) <= {"in_port", "dl_src", "dl_dst", "dl_type", "arp_tpa", "nw_proto", "icmpv6_type", "ipv6_nd_target", "actions"}
