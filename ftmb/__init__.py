"""The command line, the emulator behind it, the demonstration, and campaigns of kills.

cli.py             arguments, help, exit codes
commands.py        what each command does
config.py          the user's YAML as dataclasses; configurations/ has the named ones
consistency.py     how its parts must fit together
document.py        typed reading of YAML with file and line in every error
plan.py            a configuration resolved to numbers: interfaces, addresses, deployment and node files
errors.py          UsageError: a clear line and exit code 2
running.py         what the commands share that run a whole experiment
emulator/          the daemon that owns the network and all processes
  client.py        what others call: up, status, kill, heal, down, popen
  daemon.py        supervisor and worker: brings up, serves, takes down at any moment
  emulation.py     one emulation: network, controller, nodes, and what is done to them
  server.py        requests and answers on the Unix socket
  environment.py   root, programs, Open vSwitch, free ports and names
  processes.py faults.py interfaces.py      starting, killing and mending; cutting links
  rundir.py ledger.py cleanup.py            whose run it is, what it made, how that is removed
  rest.py readiness.py report.py            asking the controller, waiting for it, the status that users see
demo/              the demonstration
chaos/             campaigns of kills with the invariants checked
replay/            a bundle that a failover left, step by step
"""
