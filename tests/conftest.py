"""``scripts/test --matrix full``: every role dies in every way; ``--matrix-seed N``: with other second failures; ``--long``: soaks;
``--hostile-packets N``: so many for each function."""


def pytest_addoption(parser):
    parser.addoption("--matrix", choices=("part", "full"), default="part",
                     help="which cases of the matrix of failures run (tests/emulation/test_matrix.py)")
    parser.addoption("--matrix-seed", type=int, default=1, help="decides which group fails, and what fails second")
    parser.addoption("--long", action="store_true", help="run soaks at full length: some minutes more")
    parser.addoption("--hostile-packets", type=int, default=2000,
                     help="how many hostile packets each function gets (tests/functions/test_conformance.py)")
