"""What ends a worker when its supervisor is gone, however that ended.

A pipe of which only the supervisor holds the other end. Its number is in a variable of the
environment that is no setting: whoever starts a worker by hand has none, and nothing is watched.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import MutableMapping

VARIABLE = "GAMESERVER_LEASH"
# Whoever is still there when it should have drained does not drain any more.
PATIENCE_S = 5.0


def hold(environ: MutableMapping[str, str], drain_timeout_s: float) -> None:
    """Drain as after SIGTERM once the supervisor is gone, and end at last in any case."""
    number = environ.pop(VARIABLE, "")  # It is not meant for what we start ourselves.
    if number.isdecimal():
        os.set_inheritable(int(number), False)
        arguments = (int(number), drain_timeout_s + PATIENCE_S)
        # A thread, because whoever is stuck must end too.
        threading.Thread(target=_watch, args=arguments, name="leash", daemon=True).start()


def _watch(pipe: int, patience_s: float) -> None:
    os.read(pipe, 1)  # Nobody ever writes: it returns at the end.
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(patience_s)
    os.kill(os.getpid(), signal.SIGKILL)
