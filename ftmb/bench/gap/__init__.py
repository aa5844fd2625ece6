"""``ftmb bench --gap``: what a client feels of a failover, and where the time goes, by how ready the spare is.

- ``run``            arguments, words, exit code; goes on where an earlier run stopped
- ``settings``       which networks are measured, with which kills; pure
- ``configuration``  the network of a setting; pure
- ``load.c``         traffic: many flows at a fixed rate, and a probe at 1 kHz
- ``bed``            one network with its traffic: kills, one after the other, and what was seen of each
- ``readiness``      whether all is as it was before a kill, by the status; pure
- ``report``         distributions, the tables against the targets; pure
- ``plots``          charts of it; pure
"""
