"""``python -m ftmb.emulator``: the daemon; ``client.up`` starts it."""

import sys

from .daemon import main

sys.exit(main())
