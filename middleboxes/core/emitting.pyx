"""What each packet asks of its step: the port it came in at, the time, frames to send, a random number. Bounds: middleboxes.core.step."""

from libc.stdint cimport uint64_t

#: outputs of one step, at most; the same in replay
OUTPUTS_MAX = 1 << 16
cdef Py_ssize_t _OUTPUTS_MAX = OUTPUTS_MAX


cdef class Emitting:
    """The part of a StepContext that is on each packet's path; *numbers*: {name of a port: its number}.

    ``outputs``: (port number, frame) of each ``emit`` of this step; ``records``: what ``record`` noted.
    """

    def __init__(self, dict numbers not None, uint64_t random_state):
        self.port, self.now_ns = "", 0
        self.outputs, self.records = [], []
        self.random_state = random_state
        self._numbers = numbers

    cdef int begin(self, object port, uint64_t now_ns) except -1:
        """A step begins."""
        self.port, self.now_ns = port, now_ns
        self.outputs = []
        if self.records:
            self.records = []

    def emit(self, port, frame):
        # checked here: the fault is the function's, on this packet, and must not surface in the master
        if type(frame) is not bytes:
            raise TypeError(f"a frame is bytes, not {type(frame).__name__}")
        if len(self.outputs) >= _OUTPUTS_MAX:
            raise ValueError(f"more than {OUTPUTS_MAX} outputs in one step")
        self.outputs.append((self._numbers[port], frame))

    def random(self):
        # splitmix64 (Steele, Lea, Flood 2014): 64 bits of state, in the checkpoint
        self.random_state += 0x9E3779B97F4A7C15ULL
        cdef uint64_t mixed = self.random_state
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9ULL
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBULL
        return mixed ^ (mixed >> 31)
