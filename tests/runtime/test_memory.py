"""Memory is there before it is needed: what the kernel is asked for while state comes."""

import subprocess
import sys

#: fills a Map as a base is loaded, with room for all keys at once, and tells how many pages that touched for the first time
PROGRAM = """
import ctypes, resource, sys
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)                 # PR_SET_THP_DISABLE: with large pages there are few to be counted
from middleboxes.runtime.memory import make_ready
from middleboxes.sdk import Map
if sys.argv[1] == "ready":
    make_ready()
table, keys = Map(), list(range(200_000))
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
table.reserve(len(keys))
table.apply([], keys, keys)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how):
    return int(subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True).stdout)


def test_state_comes_into_pages_that_are_there():
    ready, as_it_is = faults("ready"), faults("as it is")
    assert as_it_is > 1000, "the program shows what it is to show"
    assert ready < as_it_is / 10
