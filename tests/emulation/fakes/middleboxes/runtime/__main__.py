"""A node that does nothing until it is killed."""

import signal

while True:
    signal.pause()
