"""The daemon: brings an emulation up, serves requests until a signal comes, and takes everything down.

It tells its starter how it gets on by JSON lines on standard output: {"progress": text}, then {"ready": pid} or
{"error": text}. SIGTERM, SIGINT and SIGHUP end it at any moment; so does a starter that goes away before it is ready.
One thread does everything: processes are tied to the thread that starts them.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import traceback

from .. import config
from ..errors import UsageError
from . import environment, server
from .cleanup import clean
from .emulation import Emulation
from .ledger import start_time
from .rundir import RunDirectory

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
INTERRUPTED = 130


class _Interrupted(BaseException):
    """A signal asks us to end; not an Exception, so that nothing on the way takes it for an error."""


def main():
    """Run the daemon; its exit code."""
    arguments = _arguments()
    rundir, owned = RunDirectory(), False
    code, failure = 0, None
    try:
        try:
            _let_signals_in()
            configuration = config.load(arguments.configuration)
            environment.check_root()
            _take(rundir)
            owned = True
            emulation = Emulation(rundir, configuration, arguments.ryu_app, not arguments.no_recovery,
                                  lambda text: _tell(progress=text))
            emulation.up()
            _serve(rundir, emulation)
        finally:
            _ignore_signals()
    except (_Interrupted, BrokenPipeError):
        code = INTERRUPTED
    except UsageError as error:
        code, failure = 2, str(error)
    except Exception:
        code, failure = 2, f"internal error:\n{traceback.format_exc()}"
    if owned:
        try:
            clean(rundir)
        except UsageError as error:
            code, failure = 2, f"{failure}\n{error}" if failure else str(error)
    if failure:
        # The starter may have gone: then there is nobody left to be told.
        with contextlib.suppress(BrokenPipeError):
            _tell(error=failure)
    return code


def _serve(rundir, emulation):
    listening = server.listen(rundir.socket)
    _tell(ready=os.getpid())
    # From here on nobody reads our output: it goes to the log.
    log = os.open(rundir.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    server.serve(listening, emulation.operations())


def _arguments():
    parser = argparse.ArgumentParser(prog="python -m ftmb.emulator")
    parser.add_argument("configuration")
    parser.add_argument("--ryu-app", action="append", default=[])
    parser.add_argument("--no-recovery", action="store_true")
    return parser.parse_args()


def _let_signals_in():
    """Turn signals into _Interrupted; the starter blocked them until it knew our pid."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _ignore_signals():
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(_number, _frame):
    _ignore_signals()       # once is enough; what follows must not be interrupted
    raise _Interrupted


def _take(rundir):
    """Own the run directory. Raises UsageError when a run is up, or a killed one left things behind."""
    if not rundir.acquire():
        raise UsageError("a network is up already: `ftmb down` removes it")
    if rundir.ledger.exists():
        raise UsageError("a run that was killed left things behind: `ftmb down` removes them")
    rundir.sign(os.getpid(), start_time(os.getpid()))


def _tell(**message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
