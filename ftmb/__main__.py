"""``python -m ftmb`` is the command ``ftmb``."""

import os
import signal

# Until the command line is there to take it properly, a signal just ends us: nothing has begun.
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda *_: os._exit(130))

from .cli import program  # noqa: E402

program()
