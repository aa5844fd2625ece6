"""What each command of the command line does: parsed arguments in, exit code out. Errors are UsageError."""

import json
import os
import shutil
import sys
import time

from .emulator import client
from .emulator.environment import check_root
from .emulator.report import MOVED, ROLES
from .errors import UsageError
from .new_function import write as write_function

STATES = ("protected", "recovering", "unprotected", "lost")
_COLOURS = {"protected": "32", "recovering": "33", "unprotected": "33", "lost": "31"}
_POLICIES = {"last-checkpoint": "from its last durable checkpoint; what came after that is lost", "empty": "with empty state"}
POLICIES = tuple(_POLICIES)
_POLL_S = 0.05
_NOT_FOUND = 127        # as a shell says it


def up(arguments):
    """``ftmb up``"""
    began = time.monotonic()
    client.up(arguments.configuration, arguments.ryu_app, not arguments.no_recovery,
              progress=lambda text: print(f"{text} ...", flush=True), bundles=arguments.bundles)
    print(f"{arguments.configuration} is up, every group is protected ({time.monotonic() - began:.1f} s)")
    return 0


def status(arguments):
    """``ftmb status``; 1 when the state that was waited for did not come."""
    deadline = time.monotonic() + arguments.timeout
    while True:
        now = client.status()
        held = arguments.wait is None or _all_are(arguments.wait, now)
        if held or time.monotonic() >= deadline:
            break
        time.sleep(_POLL_S)
    print(json.dumps(now, indent=1) if arguments.json else _table(now))
    if not held:
        print(f"ftmb: not every group is {arguments.wait} after {arguments.timeout:g} s", file=sys.stderr)
    return 0 if held else 1


def new_function(arguments):
    """``ftmb new-function``"""
    for path in write_function(arguments.name):
        print(f"wrote {path}")
    return 0


def execute(arguments):
    """``ftmb exec``: becomes the command."""
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        raise UsageError("exec: which command? ftmb exec HOST -- CMD ARG...")
    enter = client.enter(arguments.host)
    if shutil.which(command[0]) is None:
        print(f"ftmb: {command[0]}: command not found", file=sys.stderr)
        return _NOT_FOUND
    sys.stdout.flush()
    os.execvp(enter[0], [*enter, *command])


def kill(arguments):
    """``ftmb kill``"""
    is_of_group = arguments.role in ROLES
    if is_of_group == (arguments.group == "-"):
        raise UsageError("kill: a role belongs to a group, the controller and links to none: "
                         "ftmb kill nat master, ftmb kill - controller")
    done = client.kill(arguments.group, arguments.role, arguments.how)
    what = f", the {done['role']} of {done['group']}" if is_of_group else ""
    print(f"killed {done['node']}{what} ({done['how']})")
    return 0


def move(arguments):
    """``ftmb move``; 1 when it was begun and did not hold."""
    result = client.move(arguments.group, arguments.to, arguments.reload)
    if arguments.json:
        print(json.dumps(result, indent=1))
    elif "error" not in result:
        print(f"{result['master']} is the master of {result['group']} now ({result['failover']['total_ms']:.1f} ms)")
    if "error" in result:
        print(f"ftmb: {result['error']}", file=sys.stderr)
    return 1 if "error" in result else 0


def drain(arguments):
    """``ftmb drain``"""
    client.drain(arguments.host)
    print(f"{arguments.host} gives its roles to others and gets no new ones")
    return 0


def undrain(arguments):
    """``ftmb undrain``"""
    client.drain(arguments.host, undo=True)
    print(f"{arguments.host} may have roles again")
    return 0


def decide(arguments):
    """``ftmb decide``"""
    client.decide(arguments.group, arguments.policy)
    print(f"{arguments.group} goes on {_POLICIES[arguments.policy]}")
    return 0


def heal(arguments):
    """``ftmb heal``"""
    healed = client.heal(arguments.host)["healed"]
    print(f"healed {', '.join(healed)}" if healed else "nothing to heal")
    return 0


def down(_arguments):
    """``ftmb down``"""
    print("everything is removed" if client.down() else "nothing is up")
    return 0


def demo(arguments):
    """``ftmb demo``"""
    check_root()
    from .demo import run
    return run.main(arguments)


def chaos(arguments):
    """``ftmb chaos``; 1 when an invariant did not hold."""
    check_root()
    from .chaos import run
    return run.main(arguments)


def bench(arguments):
    """``ftmb bench``"""
    check_root()
    from .bench import run
    return run.main(arguments)


def soak(arguments):
    """``ftmb soak``; 1 when a bound was broken or accounts do not add up."""
    check_root()
    from .soak import run
    return run.main(arguments)


def replay(arguments):
    """``ftmb replay``; 1 when the replay is not what happened. Needs no root: it only reads."""
    from .replay import run
    return run.main(arguments)


def _all_are(state, now):
    # What a dead controller said last is no news.
    return now["controller"]["alive"] and all(group["state"] == state for group in now["groups"])


def _table(now):
    lines = []
    for group in now["groups"]:
        lines += _group_lines(group)
    width = max(len(host["name"]) for host in now["hosts"])
    lines.append("hosts")
    lines += [f"  {host['name']:{width}}  {host['role']:14} {_condition(host)}".rstrip()
              for host in now["hosts"]]
    lines += [f"{name} is down" for name in now["links_down"]]
    controller = now["controller"]
    lines.append(f"controller {'alive' if controller['alive'] else 'dead'}: {', '.join(controller.get('apps', []))}")
    return "\n".join(lines)


def _condition(host):
    return "" if host["alive"] and not host.get("drained") else "drained" if host["alive"] else "dead"


def _group_lines(group):
    lines = [f"group {group['name']} ({group['function']}): {_coloured(group['state'])}, epoch {group['epoch']}"]
    if group.get("lost"):
        lines.append(f"  its state can't be recovered: {group['lost']}")
    if group.get("moving_to"):
        lines.append(f"  its master is moving to {group['moving_to']}")
    for key in ("input_logger", "master", "output_logger", "store"):
        home = group["homes"][key]
        was = f" (at first: {home})" if group[key] != home else ""
        new = ", being put in place" if key.replace("_", "-") in group.get("replacing", ()) else ""
        lines.append(f"  {key.replace('_', ' '):14} {group[key] or '-'}{was}{new}")
    lines.append(f"  {'spares':14} {', '.join(group['spares']) or '-'}{_readiness(group)}")
    for failover in group["failovers"]:
        steps = " ".join(f"{step} {failover[step + '_ms']:.1f}" for step in ("detect", "fence", "load", "replay", "redirect"))
        what = "move" if failover["cause"] == MOVED else "failover"
        why = "" if failover["cause"] == MOVED else f" ({failover['cause']})"
        lines.append(f"  {what} of the {failover['role']}, {failover['from']} to {failover['to']}{why}: "
                     f"{failover['total_ms']:.1f} ms = {steps}; {failover['replayed_packets']} packets replayed")
    return lines


def _readiness(group):
    """What the spare is now, in words."""
    if not group["spares"] or group.get("readiness") is None:
        return ""
    behind = f", {group['behind_steps']} steps behind" if group.get("behind_steps") is not None else ""
    return f" ({group['readiness']}{behind})"


def _coloured(state):
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ:
        return state
    return f"\x1b[{_COLOURS.get(state, '0')}m{state}\x1b[0m"
