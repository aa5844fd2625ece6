"""A small good configuration; tests change one thing in it."""

GOOD = """\
network:
  switches: [s1, s2]
  links: [[s1, s2]]
  hosts:
    a: {switch: s1, address: 10.0.0.1/24, gateway: 10.0.0.254}
    b: {switch: s2, address: 192.0.2.1/24}
  nodes: {il: s1, ol: s2, st: s1, m1: s1, m2: s2}
groups:
  nat:
    function: nat
    parameters: {external_addresses: [192.0.2.254]}
    ports:
      inside: {mac: "02:00:5e:00:01:01", address: 10.0.0.254/24, hosts: [a]}
      outside: {mac: "02:00:5e:00:01:02", address: 192.0.2.254/24, hosts: [b]}
    input_logger: il
    output_logger: ol
    store: st
    pool: [m1, m2]
controller:
  rest_port: 8081
"""
