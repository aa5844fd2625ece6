"""A deterministic simulator of one group over the core classes: seeded clock, network, crashes, and checkers.

    network     virtual time, hosts, a lossy data network, ordered control connections
    witness     the middlebox whose outputs and state show any mistake
    roles       input logger, output logger and store on hosts
    master      the master's role
    spare       the spare's role
    controller  the failover sequence, false suspicions included
    changes     the replacement of input logger, output logger and store
    following   hot spares, and what loggers send to them
    faults, faults_following, faults_replacements     deliberate ones, which the checkers must see
    group       one group with its traffic and its faults, drawn from a seed
    checkers    the invariants
    run         one schedule
    shrink      a smaller schedule that fails as a given one does
    campaign    many schedules, on all cores

Everything random comes from one ``random.Random(seed)``: a failing seed is a test case.

    python -m pytest tests/sim --seed N                    one schedule
    python -m tests.sim --schedules 100000 --seed 1        a campaign on all cores; a failing schedule is made smaller
"""
