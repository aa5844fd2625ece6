"""``python -m pytest tests/sim --seed N`` repeats one schedule."""


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, default=None, help="run only the simulator's schedule of this seed")
