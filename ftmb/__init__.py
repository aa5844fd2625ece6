"""The command line, the emulator behind it, and the demonstration.

cli.py             arguments, help, exit codes
commands.py        what each command does
config.py          the user's YAML as dataclasses, checked
document.py        typed reading of YAML with file and line in every error
plan.py            a configuration resolved to numbers: interfaces, addresses, deployment and node files
errors.py          UsageError: a clear line and exit code 2
configurations/    the named configurations
emulator/          the daemon that owns the network and all processes
  client.py        what others call: up, status, kill, heal, down, popen
  daemon.py        brings the network up, then serves requests
  server.py        requests and answers on the Unix socket
  readiness.py     waiting until every group is protected
  processes.py     starts, kills and revives controller and nodes
  faults.py        the ways in which a role dies, and how it is mended
  ledger.py        what was made, written before it is made
  cleanup.py       removes what a ledger names
  environment.py   root, programs, Open vSwitch, free ports
  rest.py          the controller's REST interface, seen from here
  report.py        the status that users see
demo/              the demonstration
"""
