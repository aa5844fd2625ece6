"""The built-in network functions, one per file; each file's docstring is its manual.

- ``nat``             network address and port translation (NAPT) for TCP, UDP, ICMP
- ``sequencer``       a router that numbers datagrams: a witness, whose every packet shows whether state went back
- ``shared_counter``  a router that counts datagrams per source and in total: another witness
- ``router``          not a function: what functions with IPv4 addresses of their own share (ARP, next hops, ICMP errors)
- ``stamping_router`` not a function: what the witnesses share

``nat`` in turn uses ``port_pool`` (which external port next), ``tcp_sessions`` (when a connection is over) and
``icmp_errors`` (errors and the packets that they quote).
"""

import importlib

from ..sdk import ConfigurationError, Middlebox

#: name in a configuration -> where it is
FUNCTIONS = {"nat": "middleboxes.functions.nat:Nat",
             "sequencer": "middleboxes.functions.sequencer:Sequencer",
             "shared-counter": "middleboxes.functions.shared_counter:SharedCounter"}


def load(name):
    """The Middlebox class of that *name*: a key of FUNCTIONS or "package.module:Class". Raises ConfigurationError."""
    known = f"known functions: {', '.join(sorted(FUNCTIONS))}, or package.module:Class"
    module_name, colon, class_name = FUNCTIONS.get(name, name).partition(":")
    if not (colon and class_name and all(part.isidentifier() for part in module_name.split("."))):
        raise ConfigurationError(f"unknown function {name!r}; {known}")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:      # an author's module may fail in any way, which is then a wrong configuration
        raise ConfigurationError(f"function {name!r}: {type(error).__name__}: {error}; {known}") from error
    cls = getattr(module, class_name, None)
    if not (isinstance(cls, type) and issubclass(cls, Middlebox)):
        raise ConfigurationError(f"function {name!r}: {module_name} has no Middlebox class {class_name!r}; {known}")
    return cls
