"""What every test gets: hypothesis without a stop-watch, with fixed examples where CI is set."""

import os

from hypothesis import settings

# A busy machine must not turn a property into a failure; pytest-timeout ends what hangs.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")
