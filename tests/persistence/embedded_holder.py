"""A game server's part in the tests of the embedded PostgreSQL: holds one until it is killed.

`python embedded_holder.py DATA_DIR DURABLE GRACE_S` starts it, prints a line of JSON about it, and
stops it when its standard input ends. Uses the standard library only, so that any Python runs it.
"""

import json
import os
import sys
from pathlib import Path

from persistence import embedded_watchdog
from persistence.embedded_cluster import Cluster
from persistence.embedded_host import EmbeddedError


def main(data_dir: str, durable: str, grace_s: str) -> None:
    """Hold an embedded PostgreSQL, or say why not."""
    embedded_watchdog.GRACE_S = float(grace_s)
    cluster = Cluster(Path(data_dir), durable=durable == "durable")
    try:
        cluster.start()
    except EmbeddedError as error:
        tell({"error": type(error).__name__, "text": str(error)})
        return
    told: dict[str, object] = {
        "uid": os.geteuid(),
        "server": cluster.server_pid,
        "watchdog": cluster.watchdog_pid,
        "adopted": cluster.adopted,
        "dsn": cluster.dsn,
    }
    tell(told)
    sys.stdin.read()
    cluster.stop()


def tell(what: dict[str, object]) -> None:
    """Say something to whoever started us."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
