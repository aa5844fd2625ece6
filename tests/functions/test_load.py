"""Functions are found by name; a wrong name or parameter is a ConfigurationError that says what is allowed."""

import pytest

from middleboxes.functions import load
from middleboxes.functions.nat import Nat
from middleboxes.sdk import ConfigurationError, Port

from .nat_scenario import INSIDE, OUTSIDE, PARAMETERS


def test_built_in_name_and_full_name_give_the_class():
    assert load("nat") is load("middleboxes.functions.nat:Nat") is Nat


@pytest.mark.parametrize("name", ["nta", "", ":", "json", "json:", ":Nat", "json:loads", "json:Nat", "no.such.module:X",
                                  "middleboxes.functions.nat:UDP", ".nat:Nat", "..:Nat", "a b:C"])
def test_wrong_names_list_the_known_ones(name):
    with pytest.raises(ConfigurationError, match="known functions: firewall, ids, load-balancer, monitor, nat, rate-limiter, sequencer, shared-counter, wan-optimiser, or package.module:Class"):
        load(name)


@pytest.mark.parametrize("change, message", [
    ({"udp_timeout": 5}, "unknown parameters udp_timeout; allowed: contacts_max, external_addresses"),
    ({"udp_timeout_s": "5"}, "udp_timeout_s must be an integer from 1"),
    ({"udp_timeout_s": 0}, "udp_timeout_s must be an integer from 1"),
    ({"mappings_max": True}, "mappings_max must be an integer"),
    ({"first_port": 70000}, "first_port must be an integer from 1 to 65535"),
    ({"first_port": 2000, "last_port": 1999}, "first_port 2000 is above last_port 1999"),
    ({"external_addresses": []}, "external_addresses must be a list of 1 to 256"),
    ({"external_addresses": "192.0.2.100"}, "external_addresses must be a list"),
    ({"external_addresses": ["192.0.2.300"]}, "external_addresses: .*192.0.2.300"),
    ({"external_addresses": [True]}, "external_addresses: True is not an IPv4 address"),
    ({"external_addresses": ["192.0.2.9", "192.0.2.9"]}, "names an address twice"),
    ({"external_addresses": ["10.0.0.9"]}, "10.0.0.9 must be a host's and outside of the inside prefix"),
    ({"external_addresses": ["192.0.2.255"]}, "192.0.2.255 must be a host's"),
    ({"outside_gateway": "192.0.3.1"}, "outside_gateway 192.0.3.1 must be another host of the outside prefix"),
    ({"outside_gateway": "192.0.2.254"}, "must be another host"),
    ({"external_addresses": ["127.0.0.1"]}, "127.0.0.1 must be a host's"),
    ({"outside_gateway": "192.0.2.100"}, "must be another host"),
])
def test_wrong_parameters_are_named(change, message):
    with pytest.raises(ConfigurationError, match=message):
        Nat({**PARAMETERS, **change}, [INSIDE, OUTSIDE])


def test_overlapping_prefixes_are_refused():
    with pytest.raises(ConfigurationError, match="overlap"):
        Nat(PARAMETERS, [INSIDE, Port.parse("outside", "02:00:5e:00:01:02", "10.0.0.1/8")])


def test_the_outside_port_s_own_address_can_be_the_external_one():
    Nat({"external_addresses": ["192.0.2.254"]}, [INSIDE, OUTSIDE])


def test_a_module_that_fails_to_load_is_a_configuration_error(tmp_path, monkeypatch):
    (tmp_path / "broken_function_module.py").write_text("def (:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match="SyntaxError"):
        load("broken_function_module:X")


def test_an_author_s_class_is_found_by_module_and_name(tmp_path, monkeypatch):
    (tmp_path / "good_function_module.py").write_text(
        "from middleboxes.sdk import Middlebox\nclass Wire(Middlebox):\n    ports = ('a', 'b')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert load("good_function_module:Wire").ports == ("a", "b")
