"""The daemon: brings an emulation up, serves requests until a signal comes, and takes everything down.

Two processes: the worker makes the emulation and serves; the supervisor waits for it or for a signal (SIGTERM,
SIGINT, SIGHUP), kills it at whatever moment that is, and removes what the ledger names. So no signal can meet the
worker half way through something, and a worker that hangs is no obstacle.

The starter is told by JSON lines on standard output: {"progress": text}, then {"ready": true} or {"error": text}.
A starter that goes away before the network is ready ends it, too.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import signal
import sys
import traceback

from topologies.network import die_with_parent

from .. import config
from ..errors import UsageError
from . import environment, server
from .cleanup import clean
from .emulation import Emulation
from .ledger import start_time
from .rundir import RunDirectory

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
INTERRUPTED = 130


class StarterGone(Exception):
    """Nobody waits for the network any more."""


def main():
    """Run the daemon; its exit code."""
    arguments = _arguments()
    # The starter blocked them already; the supervisor never lets them in, it asks for them.
    signal.pthread_sigmask(signal.SIG_BLOCK, (*SIGNALS, signal.SIGCHLD))
    for number in (*SIGNALS, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    rundir = RunDirectory()
    try:
        configuration = config.load(arguments.configuration)
        if arguments.bundles is not None:
            kept = configuration.bundles or config.Bundles(arguments.bundles)
            configuration.bundles = dataclasses.replace(kept, directory=arguments.bundles)
        environment.check_root()
        _take(rundir)
        supervisor, worker = os.getpid(), os.fork()
        if worker == 0:
            os._exit(_work(supervisor, rundir, configuration, arguments))
        code = _supervise(worker)
        clean(rundir)
    except UsageError as error:
        _tell_error(str(error))
        return 2
    except Exception:
        _tell_error(f"internal error:\n{traceback.format_exc()}")
        return 2
    return code


def _supervise(worker):
    """Wait until *worker* ends or a signal says that it shall; our exit code. It is gone on return."""
    while True:
        number = signal.sigwait((*SIGNALS, signal.SIGCHLD))
        if number != signal.SIGCHLD:
            os.kill(worker, signal.SIGKILL)
            os.waitpid(worker, 0)
            return INTERRUPTED
        pid, status = os.waitpid(worker, os.WNOHANG)
        if pid == worker:
            return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 2


def _work(supervisor, rundir, configuration, arguments):
    """Bring up and serve, for ever; the exit code if that fails."""
    try:
        die_with_parent(supervisor)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        log = os.open(rundir.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.dup2(log, 2)
        emulation = Emulation(rundir, configuration, arguments.ryu_app, not arguments.no_recovery,
                              arguments.faults, lambda text: _tell(progress=text))
        emulation.up()
        listening = server.listen(rundir.socket)
        _tell(ready=True)
        os.dup2(log, 1)         # nobody reads it any more
        server.serve(listening, emulation.operations())
    except UsageError as error:
        _tell_error(str(error))
    except StarterGone:
        return INTERRUPTED
    except (Exception, SystemExit):     # Mininet exits when it does not like the machine
        _tell_error(f"internal error:\n{traceback.format_exc()}")
    return 2


def _arguments():
    parser = argparse.ArgumentParser(prog="python -m ftmb.emulator")
    parser.add_argument("configuration")
    parser.add_argument("--ryu-app", action="append", default=[])
    parser.add_argument("--no-recovery", action="store_true")
    parser.add_argument("--bundles")
    parser.add_argument("--faults", type=json.loads)
    return parser.parse_args()


def _take(rundir):
    """Own the run directory. Raises UsageError when a run is up, or a killed one left things behind."""
    if not rundir.acquire():
        raise UsageError("a network is up already: `ftmb down` removes it")
    if rundir.ledger.exists():
        raise UsageError("a run that was killed left things behind: `ftmb down` removes them")
    rundir.sign(os.getpid(), start_time(os.getpid()))


def _tell(**message):
    try:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise StarterGone from None


def _tell_error(text):
    # then there is nobody left to be told
    with contextlib.suppress(StarterGone):
        _tell(error=text)
