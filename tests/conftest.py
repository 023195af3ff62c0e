"""What every test gets: hypothesis without a stop-watch, with fixed examples where CI is set."""

import os

import pytest
from hypothesis import settings

# A busy machine must not turn a property into a failure; pytest-timeout ends what hangs.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--rewrite``: write what scenario files say came of each step anew."""
    parser.addoption("--rewrite", action="store_true", help="write the scenario files anew")


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Tell whether scenario files are to be written anew."""
    return bool(request.config.getoption("--rewrite"))
