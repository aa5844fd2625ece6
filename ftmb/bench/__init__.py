"""``ftmb bench``: what protection costs, beside its limits and in the same run, as ratios.

- ``wire.c``     traffic with latencies, and forwarders that do nothing: the physical limit
- ``network``    namespaces and links, direct or through Open vSwitch
- ``programs``   compiling and running ``wire``, CPU time of processes
- ``nodes``      node processes, led by a controller that only gives roles
- ``systems``    what is compared: limit (also with processors awake), plain, protected, Linux's NAT
- ``plain``      the process of ``plain``: the function in the runtime, unprotected
- ``inside``     what needs no network: checkpoints, replay, bytes of determinants
- ``flows``      what the number of flows costs a packet: caches, and tables that grow
- ``resident``   memory of a logged packet and of a flow
- ``measure``, ``report``   rounds; table and ratios
- ``plots``, ``charts``     which charts there are; bars and lines as SVG
- ``packets.h``  what the programs in C share
- ``growth``   ``--growth``: what a packet costs as rates, flows and groups grow
- ``iperf``    ``--iperf``: what iperf3 gets through
- ``gap/``       ``--gap``: what a client feels when the master dies
"""
