"""``python -m ftmb`` is the command ``ftmb``."""

import sys

from .cli import main

sys.exit(main())
