"""The emulator, as the command line and the demonstration use it.

``up`` starts the daemon, ``down`` ends it and removes all; the rest asks it. Everything raises UsageError with a
line for the user. Whoever calls ``up`` and wants nothing left after Ctrl-C calls ``down`` in a ``finally``.
"""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from ..errors import UsageError
from . import environment, rest, server
from .cleanup import clean
from .ledger import is_alive
from .rundir import RunDirectory

_RUNDIR = RunDirectory()
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_TIMEOUT_S = 30
#: how the controller says that a move failed on the way, or takes too long
_NOT_HELD = (503, 504)
_NOTHING = "nothing is up: `ftmb up single` starts a network"


def up(configuration, ryu_apps=(), recovery=True, progress=lambda text: None, faults=None, bundles=None):
    """Bring *configuration* (a name or a file) up; returns once every group is protected.

    *bundles*: directory where failovers leave bundles; None: as the configuration says.
    *faults*: {"seed", "loss", "duplicate", "reorder"}, a bad network between the roles (middleboxes/runtime/faults.py).
    *progress* is called with a line for each step. When interrupted (KeyboardInterrupt and the like) everything is
    down again before the exception goes on.
    """
    command = [sys.executable, "-m", "ftmb.emulator", *(f"--ryu-app={name}" for name in ryu_apps)]
    command += [] if recovery else ["--no-recovery"]
    command += [] if bundles is None else [f"--bundles={bundles}"]
    command += [] if faults is None else [f"--faults={json.dumps(faults)}"]
    # No signal may come between the start of the daemon and our knowing of it; it lets them in by itself.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    # It outlives us: whoever waits for the end of our error output must not have to wait for it.
    daemon = subprocess.Popen([*command, "--", str(configuration)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        error = _follow(daemon, progress)
    except BaseException:
        _end(daemon)
        raise
    finally:
        daemon.stdout.close()
    if error is not None:
        daemon.wait()
        raise UsageError(error)


def _follow(daemon, progress):
    """Pass the daemon's progress on until it is ready; what went wrong, or None."""
    errors = []
    for line in daemon.stdout:
        message = json.loads(line)
        if "ready" in message:
            return None
        if "progress" in message:
            progress(message["progress"])
        else:
            errors.append(message["error"])
    return "\n".join(errors) or "the emulator ended before the network was up"


def _end(daemon):
    """Have *daemon* take everything down; not to be interrupted, it is soon done."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    daemon.terminate()
    daemon.wait()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def status():
    """What ``ftmb status --json`` shows, as a dict."""
    return _ask("status")


def kill(group, role, how="process", node=None):
    """Kill the holder of *role* in *group*; {"at_ns", "dead_ns", "group", "role", "node", "how"}.

    *at_ns*: just before (CLOCK_MONOTONIC); *dead_ns*: from then on nothing of it passes.

    *node*: kill this one, at once, whoever has the role by now.
    """
    return _ask("kill", group=group, role=role, how=how, node=node)


def heal(host=None):
    """Mend *host* (a node, "controller", or a link "link:s1-s2"), or everything; {"healed": [names]}."""
    return _ask("heal", host=host)


def move(group, to=None, reload=False):
    """Move the master of *group* to node *to* (None: the controller chooses); returns when that is over.

    {"group", "master", "failover"}, or {"group", "error": why it did not hold}. Raises UsageError: it was not begun.
    """
    code, value = _order("groups", group, "move", to=to, reload=reload)
    return {"group": group, "error": value["error"]} if code in _NOT_HELD else value


def drain(node, undo=False):
    """Give the roles of *node* to others and no new ones to it; *undo*: it may have roles again. Raises UsageError."""
    code, value = _order("nodes", node, "undrain" if undo else "drain")
    if code in _NOT_HELD:
        raise UsageError(value["error"])


def decide(group, policy):
    """What to do with *group*, whose state is lost: "last-checkpoint" or "empty". Raises UsageError."""
    code, value = _order("groups", group, "decide", policy=policy)
    if code in _NOT_HELD:
        raise UsageError(value["error"])


def _order(kind, name, action, **fields):
    """What the controller answers: 200 or one of _NOT_HELD, and a map. Raises UsageError: it was refused."""
    answer = rest.order(_ask("rest_port"), _RUNDIR.key.read_text(encoding="ascii").strip(), kind, name, action, **fields)
    if answer is None:
        raise UsageError("the controller does not answer: `ftmb heal controller` brings a dead one back")
    if answer[0] != 200 and answer[0] not in _NOT_HELD:
        raise UsageError(answer[1]["error"])
    return answer


def memory():
    """{node: resident bytes of its process}, 0 for one that is dead."""
    return _ask("memory")


def cpu():
    """{node, or "controller": CPU time of its process so far, in ns}, 0 for one that is dead."""
    return _ask("cpu")


def save_logs(directory):
    """Copy the logs of emulator, controller and nodes into *directory*, which is made."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copy(_RUNDIR.controller_log, directory / "controller.log")
    shutil.copy(_RUNDIR.log, directory / "emulator.log")
    for log in _RUNDIR.path.glob("nodes/*/log"):
        shutil.copy(log, directory / f"{log.parent.name}.log")


def down():
    """Remove everything that is up, or that a killed run left; True if there was something."""
    environment.check_root()
    if not _RUNDIR.path.exists():
        return False
    found = _RUNDIR.ledger.exists()
    owner = _RUNDIR.owner()
    if not _RUNDIR.acquire():
        found = True
        _stop(owner)
        if not _RUNDIR.acquire():
            raise UsageError("another command is bringing a network up or down: try again when it is done")
    clean(_RUNDIR)
    _RUNDIR.release()
    return found


def _stop(owner):
    """End the daemon *owner* ((pid, start time)) and wait until it has gone."""
    if owner is None or not is_alive(*owner):
        return      # it is going by itself
    try:
        descriptor = os.pidfd_open(owner[0])
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    except ProcessLookupError:
        return
    ended, _, _ = select.select([descriptor], [], [], _TIMEOUT_S)
    os.close(descriptor)
    if not ended:
        raise UsageError(f"the emulator (process {owner[0]}) does not end within {_TIMEOUT_S} s: "
                         f"`kill -9 {owner[0]}`, then `ftmb down` again")


def _ask(operation, **arguments):
    environment.check_root()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_TIMEOUT_S)
    with connection:
        try:
            connection.connect(str(_RUNDIR.socket))
            connection.sendall(json.dumps({"op": operation, "arguments": arguments}).encode() + b"\n")
            line = server.read_line(connection, server.ANSWER_BYTES_MAX)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise UsageError(_nothing_up()) from error
        except OSError as error:
            raise UsageError(f"the emulator does not answer: {error}") from error
    if not line:
        raise UsageError("the emulator ended while it was asked")
    answer = json.loads(line)
    if "error" in answer:
        raise UsageError(answer["error"])
    return answer["result"]


def _nothing_up():
    owner = _RUNDIR.owner()
    if owner is not None and is_alive(*owner):
        return "the network is not up yet, or is going down"
    if _RUNDIR.ledger.exists():
        return "a run that was killed left things behind: `ftmb down` removes them"
    return _NOTHING


# -- hosts

def popen(host, arguments, **keywords):
    """A subprocess.Popen of the program *arguments* in the namespaces of *host*."""
    return subprocess.Popen(enter(host) + list(arguments), **keywords)


def host_address(host):
    """The IPv4 address of *host*, as text; of a node that on the management network."""
    return _host(host)["address"]


def enter(host):
    """The command that runs a command in the namespaces of *host*."""
    return ["mnexec", "-a", str(_host(host)["pid"])]


def _host(name):
    environment.check_root()
    try:
        hosts = json.loads(_RUNDIR.hosts.read_bytes())
    except FileNotFoundError as error:
        raise UsageError(_nothing_up()) from error
    if name not in hosts:
        raise UsageError(f"there is no host {name!r}: {', '.join(hosts)}")
    if not is_alive(hosts[name]["pid"], hosts[name]["start"]):
        raise UsageError(_nothing_up())
    return hosts[name]
