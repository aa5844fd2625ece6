"""``ftmb replay BUNDLE``: arguments in, words or JSON out, exit code.

0: it held; 1: it ran and did not hold; 2: usage, or a bundle that can't be used; 130: interrupted.
"""

import argparse
import json
import os
import sys

from middleboxes.core.step import ReplayError
from middleboxes.replay import Bundle, BundleError
from middleboxes.replay.replay import function_traceback
from middleboxes.replay.state import plain

from ..errors import UsageError
from . import report
from .watch import Left, Watch, debug_at, debug_error, save_outputs

INTERRUPTED = 130


def _step(text):
    worker, colon, k = text.rpartition(":")
    if not k.isdecimal() or colon and not worker.isdecimal():
        raise argparse.ArgumentTypeError(f"a step is WORKER:K, or K where there is one worker, not {text!r}")
    return int(worker or 0), int(k)


def add_arguments(parser):
    """Declare the options of ``ftmb replay``."""
    parser.add_argument("bundle", metavar="BUNDLE", help="the file that a failover left")
    parser.add_argument("--print", action="store_true", help="tell each step: input, determinant, outputs, what changed")
    parser.add_argument("--from", dest="first", type=_step, metavar="WORKER:K", help="tell steps, and keep outputs, from this one on")
    parser.add_argument("--until", dest="last", type=_step, metavar="WORKER:K", help="stop after this step")
    parser.add_argument("--step", type=_step, metavar="WORKER:K", help="tell only this step, and stop after it")
    parser.add_argument("--outputs", metavar="FILE", help="write what the steps emit to FILE, as pcapng")
    parser.add_argument("--state", metavar="FILE", help="write the state where the replay ends to FILE, as JSON")
    parser.add_argument("--pdb", action="store_true",
                        help="stop in the debugger: before the step of --step or --from, else where the first step raised")
    parser.add_argument("--function", metavar="NAME", help="replay with this function, a name or MODULE:CLASS, to try one that is mended")
    parser.add_argument("--json", action="store_true", help="tell the result, and with --print the steps, as JSON")


def main(arguments):
    """Run the replay that *arguments* ask for; the exit code. Raises UsageError."""
    if arguments.step is not None:
        arguments.first = arguments.last = arguments.step
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())         # where an author's own functions are
    try:
        bundle = Bundle.load(arguments.bundle)
        _check_steps(bundle, arguments)
        if not arguments.json:
            for line in report.head_lines(arguments.bundle, bundle):
                print(line)
        return _replay(bundle, arguments)
    except BundleError as error:
        raise UsageError(f"replay: {error}") from error


def _check_steps(bundle, arguments):
    for place in (arguments.first, arguments.last):
        if place is None:
            continue
        worker, k = place
        if worker >= bundle.workers:
            raise UsageError(f"replay: there is no worker {worker}, the group has {bundle.workers}")
        begin = bundle.header["positions"][worker][1]
        if not begin < k <= begin + len(bundle.inputs[worker]):
            raise UsageError(f"replay: step {worker}:{k} is not in the bundle, which has steps {worker}:{begin + 1} to at most"
                             f" {worker}:{begin + len(bundle.inputs[worker])}")


def _replay(bundle, arguments):
    replay = bundle.replay(arguments.function)
    steps, outputs = [], [] if arguments.outputs else None
    watch = Watch(replay, arguments.first, arguments.last, _teller(arguments, steps), outputs)
    if arguments.pdb and arguments.first is not None:
        debug_at(replay, arguments.first)
    ended = _run(watch, arguments)
    found = report.result(replay, watch, ended)
    if arguments.function:
        found["other_function"] = arguments.function
    elif ended is None and arguments.last is None and not arguments.pdb:
        found["deterministic"] = _is_repeated(bundle)
    if arguments.pdb and arguments.first is None and replay.errors:
        debug_error(replay.errors[0])
    _write_files(arguments, replay, outputs)
    return _tell_result(arguments, found, steps)


def _teller(arguments, steps):
    """What is done with each step that is told; None if nothing is."""
    if not arguments.print and arguments.step is None:
        return None
    if arguments.json:
        return lambda step: steps.append(report.step_data(step))
    return lambda step: print("\n".join(report.step_lines(step)), flush=True)


def _run(watch, arguments):
    """Run it; why it did not go to its end, or None."""
    try:
        watch.run()
    except ReplayError as error:
        return str(error)
    except (KeyboardInterrupt, Left) as error:
        print(f"\nftmb: {'left' if isinstance(error, Left) else 'interrupted'} in this step:", file=sys.stderr)
        if watch.replay.current is not None:
            print("\n".join(report.step_lines(watch.replay.current)), file=sys.stderr)
        if isinstance(error, KeyboardInterrupt):
            print(function_traceback(error), file=sys.stderr)       # if it never ends, this is where it was
        raise KeyboardInterrupt from error
    if not watch.seen_last:
        return f"there is no step {arguments.last[0]}:{arguments.last[1]}: the replay ended before"
    return None


def _is_repeated(bundle):
    """Whether two replays of all that has determinants are the same: outputs and state. A new step may record something else each time."""
    watches = [Watch(bundle.replay()) for _ in range(2)]
    try:
        for watch in watches:
            watch.run(new=False)
    except ReplayError:
        return False
    return len({(watch.digest, watch.replay.digest) for watch in watches}) == 1


def _write_files(arguments, replay, outputs):
    try:
        if arguments.outputs:
            save_outputs(arguments.outputs, replay.bundle, outputs)
        if arguments.state:
            text = json.dumps({"positions": replay.positions, "state": {name: plain(value) for name, value in replay.state.items()}}, indent=1)
            with open(arguments.state, "w", encoding="ascii") as file:
                file.write(text + "\n")
    except OSError as error:
        raise UsageError(f"replay: cannot write {error.filename!r}: {error.strerror}") from error


def _tell_result(arguments, found, steps):
    held = report.held(found)
    if arguments.json:
        print(json.dumps({**found, "held": held, **({"told": steps} if steps else {})}, indent=1))
    else:
        for line in (*report.result_lines(found), "", report.verdict(found)):
            print(line)
    return 0 if held else 1
