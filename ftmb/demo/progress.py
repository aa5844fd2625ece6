"""What the demo says while it runs: a live line on a terminal, a line for each phase elsewhere."""

import os

_COLOURS = {"good": "32", "bad": "31", "dim": "2", "bold": "1"}


class Progress:
    """Writes to *stream*; colours and a live line only if it is a terminal (and NO_COLOR is not set)."""

    def __init__(self, stream):
        self._stream = stream
        self._live = stream.isatty()
        self._coloured = self._live and "NO_COLOR" not in os.environ
        self._shown = False

    def phase(self, text):
        """What is going on now; on a terminal the next text takes its place."""
        if not self._live:
            self.line(text + " ...")
            return
        self._write("\r\x1b[K" + self.colour(text + " ...", "dim"))
        self._shown = True

    def live(self, text):
        """As ``phase``, but only for a terminal: too frequent for a log."""
        if self._live:
            self.phase(text)

    def line(self, text=""):
        """A line that stays."""
        if self._shown:
            self._write("\r\x1b[K")
            self._shown = False
        self._write(text + "\n")

    def colour(self, text, kind):
        """*text* in the colour of *kind* (good, bad, dim, bold), if colours are on."""
        return f"\x1b[{_COLOURS[kind]}m{text}\x1b[0m" if self._coloured else text

    def _write(self, text):
        self._stream.write(text)
        self._stream.flush()
