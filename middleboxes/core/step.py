"""One step of a worker: what the middlebox sees as ``ctx``, and the bounds of what it may do with it."""

from .channel import pack, unpack
from .emitting import Emitting
from .state import check_value

EVENT_CHARACTERS_MAX = 1000

#: bounds of one step, the same in replay (outputs: middleboxes.core.emitting); all that it records must fit determinants.EXTRA_BYTES_MAX
RECORDS_MAX = 32
RECORDED_BYTES_MAX = 4096
_REASON_CHARACTERS_MAX = 24


class ReplayError(Exception):
    """Logged inputs and determinants do not fit together: the state can't be restored from them."""


class RecordError(Exception):
    """A ``ctx.record`` gave no value: its function raised, or the value is too large or of a kind that can't be kept."""


class StepContext(Emitting):
    """What one worker's steps see as ``ctx`` (documented in middleboxes.sdk.middlebox.Context)."""

    __slots__ = ("_replayed", "_on_event", "_replaying")

    def __init__(self, numbers, random_state, on_event):
        super().__init__(numbers, random_state)
        self._on_event = on_event
        self._replaying, self._replayed = False, None

    def record(self, fn):
        if len(self.records) == RECORDS_MAX:
            raise RecordError(f"more than {RECORDS_MAX} records in one step")
        if self._replaying:
            if not self._replayed:
                raise ReplayError("the middlebox asks for a recorded value that was not logged: it is not deterministic")
            outcome = self._replayed.pop(0)
        else:
            outcome = self._outcome(fn)
        self.records.append(outcome)
        if type(outcome) is str:
            raise RecordError(outcome)
        return unpack(outcome, use_list=False)      # what replay will see, not what *fn* gave

    def _outcome(self, fn):
        """The packed value of *fn()*, or as text why there is none: a step that failed so must fail so again."""
        try:
            value = fn()
            check_value("ctx.record", value)
            packed = pack(value)
        except Exception as error:
            return type(error).__name__[:_REASON_CHARACTERS_MAX]
        if sum(map(len, self.records)) + len(packed) > RECORDED_BYTES_MAX:
            return "too large"
        return packed

    def event(self, name, detail):
        # checked in replay, too: what fails live must fail again
        for text in (name, detail):
            if type(text) is not str or len(text) > EVENT_CHARACTERS_MAX or not text.isprintable():
                raise ValueError(f"an event is two printable texts of at most {EVENT_CHARACTERS_MAX} characters")
        if not self._replaying:
            self._on_event(name, detail)

    def begin_replay(self, records):
        self._replaying, self._replayed = True, list(records)

    def end_replay(self):
        self._replaying = False
