"""The checkers can fail: each deliberate fault of the protocol is caught by some schedule within a bounded search."""

import re

import pytest

from .checkers import Violation
from .faults import (AppliesDeltasTwice, CommitsAheadOfTheOutputLogger, DropsOrder, ForgetsAtFence, ForgetsDomains,
                     ForgetsOverflowSpare, ForgetsRandomState, ForgetsWhatLeft, GoesLiveUnjoined, IgnoresOrderSpare, IsNotFenced,
                     IsNotFencedStore, KeepsAnOpenPrefix, KeepsEpoch, LogsNoAccess, LosesDeterminantsAtFence, MergesNoClock, RecordsAgain,
                     ReleasesTooEarly, ReleasesUnstored, SendsNoClock, SendsNothingWhenFull, SkipsTheLogSpare, StartsUnprotected,
                     TrimsBeforeDurable, TrimsInputsTooFar, TrimsOutputsTooFar, TurnsBackTheClock)
from .faults_following import (BeginsTooEarlySpare, CountsAsDurableSpare, FollowsOnSpare, ForgetsChangesSpare, GoesAheadSpare,
                               KeepsNoOutputsSpare, KeepsOldPlacesSpare, RepeatsUnstoredSpare)
from .faults_replacements import (BeginsInTheMiddle, BeginsUncovered, ComesLate, CoversTooSoon, GoesOn, HeedsItsSuccessor, KeepsOutputEpoch,
                                  LosesTooSoon, NeverWaitsAgain, RepeatsNoTrim, SendsADelta, TakesFormerInputs, TellsNoTime,
                                  TellsTooLowNumbers, WaitsForNobody)
from .group import Parts
from .run import run

SCHEDULES_MAX = 6000


#: each fault with what must be said about it: being caught by accident proves nothing
FAULTS = [
    (Parts(output_logger=ReleasesTooEarly), "left before (its )?determinants"),
    (Parts(output_logger=ReleasesUnstored), "left before (its )?determinants"),
    (Parts(output_logger=LosesDeterminantsAtFence), "left and are not in the recoverable prefix"),
    (Parts(output_logger=IsNotFenced), "came in order|an output of epoch . left in epoch"),
    (Parts(output_logger=ForgetsWhatLeft), "left twice"),
    (Parts(output_logger=ForgetsAtFence), "left twice"),
    (Parts(output_logger=TrimsOutputsTooFar), "have a gap|are trimmed|before the checkpoint that explains it"),
    (Parts(input_logger=TrimsInputsTooFar), "is needed by step|is trimmed|got lost in the failover"),
    (Parts(input_logger=TurnsBackTheClock), "time goes back"),
    (Parts(master=TrimsBeforeDurable), "have a gap|came in order|is needed by step"),
    (Parts(master=CommitsAheadOfTheOutputLogger), "durable before its determinants are stored"),
    (Parts(master=StartsUnprotected), "depend on which left|left and are not in|does not come to rest|left twice"),
    (Parts(folded=IsNotFencedStore), "checkpoint numbers go back|a delta on checkpoint|a base replaces"),
    (Parts(controller=KeepsEpoch), "is used again|two masters in epoch"),
    (Parts(core=AppliesDeltasTwice), "do not give the surviving state|not in the surviving history|does not give|other values"
                                     "|was not logged|left twice"),
    (Parts(core=DropsOrder), "do not give the surviving state|does not give the surviving state"),
    (Parts(core=ForgetsRandomState), "was not logged|other values|surviving|in another order than was logged"),
    (Parts(core=RecordsAgain), "surviving|replay asks for an outside value"),
    (Parts(core=SendsNoClock), "another worker that it depends on were stored|left and are not in the recoverable prefix"),
    (Parts(core=MergesNoClock), "another worker that it depends on were stored|left and are not in the recoverable prefix"),
    (Parts(core=LogsNoAccess), "in another order than was logged|surviving"),
    (Parts(core=ForgetsDomains), "in another order than was logged|surviving state"),
    (Parts(output_logger=KeepsAnOpenPrefix), "are not closed|depend on steps that are not stored"),
    (Parts(spare=IgnoresOrderSpare), "in another order than was logged"),
    (Parts(spare=SkipsTheLogSpare), "got lost in the failover"),
    (Parts(spare=ForgetsOverflowSpare), "never processed, though the network lost nothing"),
    (Parts(input_logger=SendsNothingWhenFull), "does not come to rest"),
    (Parts(spare=GoesLiveUnjoined), "never processed, though the network lost nothing"),
    (Parts(output_logger=BeginsInTheMiddle), "came in order|before the checkpoint that explains it"),
    (Parts(output_logger=BeginsUncovered), "before a checkpoint that covers it was durable"),
    (Parts(output_logger=HeedsItsSuccessor), "came in order|in the recoverable prefix|does not come to rest|left twice|left in epoch"),
    (Parts(core=KeepsOutputEpoch), "does not come to rest"),
    (Parts(core=TakesFormerInputs), "surviving|in another order than was logged|logged as two things|is needed by step|was not logged|is trimmed"),
    (Parts(core=TellsTooLowNumbers), "surviving|never processed|logged as two things|is needed by step|in another order than|other values|is trimmed"),
    (Parts(core=TellsNoTime), "time goes back"),
    (Parts(core=NeverWaitsAgain), "durable before its determinants are stored"),
    (Parts(core=WaitsForNobody), "does not come to rest"),
    (Parts(core=GoesOn), "a master that was stopped goes on"),
    (Parts(core=RepeatsNoTrim), "does not come to rest"),
    (Parts(output_logger=ComesLate), "does not come to rest|came in order"),
    (Parts(master=SendsADelta), "does not come to rest|a delta on checkpoint|can't be applied"),
    (Parts(master=CoversTooSoon), "no such checkpoint is durable"),
    (Parts(spare=RepeatsUnstoredSpare), "surviving|is needed by step|in another order than|other values|was not logged|left twice"),
    (Parts(spare=BeginsTooEarlySpare), "surviving|is needed by step|in another order than|other values|was not logged|have a gap|are not closed|does not come to rest|left twice"),
    (Parts(spare=KeepsNoOutputsSpare), "never left, though the network lost nothing"),
    (Parts(spare=ForgetsChangesSpare), "do not give the surviving state|does not give|in another order than|was not logged"),
    (Parts(spare=CountsAsDurableSpare), "do not give the surviving state|does not give|in another order than|was not logged"),
    (Parts(spare=KeepsOldPlacesSpare), "surviving|does not give|in another order than|was not logged"),
    (Parts(spare=FollowsOnSpare), "surviving|is needed by step|in another order than|other values|was not logged|were promised"),
    (Parts(spare=GoesAheadSpare), "left twice|surviving|in another order than was logged|were promised|is needed by step|was not logged"),
    (Parts(controller=LosesTooSoon), "was given up, and could be recovered"),
]


def name_of(parts):
    (faulty,) = [part for part, default in zip(parts, Parts()) if part is not default]
    return faulty.__name__


@pytest.mark.parametrize("parts, said", [pytest.param(*fault, id=name_of(fault[0])) for fault in FAULTS])
def test_a_faulty_protocol_is_caught(parts, said):
    for seed in range(SCHEDULES_MAX):
        try:
            run(seed, parts)
        except Violation as violation:
            assert re.search(said, str(violation))
            print(f"caught at seed {seed}")
            return
    pytest.fail(f"{name_of(parts)} passed {SCHEDULES_MAX} schedules")
