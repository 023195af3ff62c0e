"""Servers of others with the benchmark's room, and how they are started.

Packages from npm are pinned by the lock file beside this one and installed into a cache folder
when they are first needed. Where Node or npm is missing, the figures that need them are withheld.
"""

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from scripts.bench.measuring import Withheld, cache_folder

HERE = Path(__file__).resolve().parent
MANIFESTS = ("package.json", "package-lock.json")
INSTALL_TIMEOUT_S = 600


@dataclass(frozen=True)
class Peer:
    """A server of others: its name, the dialect it is spoken to in, and its program."""

    name: str
    dialect: str
    program: str

    def command(self, port: int, seats: int) -> list[str]:
        """Return the command that starts it, or raise Withheld."""
        if self.program.endswith(".mjs"):
            return [node(), str(installed() / self.program), str(port), str(seats)]
        return [sys.executable, "-m", self.program, str(port)]


PEERS = (
    Peer("colyseus", "colyseus", "colyseus_server.mjs"),
    Peer("ws", "plain", "ws_server.mjs"),
    Peer("websockets", "plain", "scripts.bench.peers.websockets_server"),
    Peer("bare", "plain", "scripts.bench.peers.bare_server"),
)


def node() -> str:
    """Return Node, or raise Withheld."""
    found = shutil.which("node")
    if found is None:
        raise Withheld("node is not on the path")
    return found


def installed() -> Path:
    """Return a folder with the servers and the packages that they need, or raise Withheld.

    The folder's name tells what is in it: it is made anew when the lock or a server changes.
    """
    npm = shutil.which("npm")
    files = [*MANIFESTS, *sorted(path.name for path in HERE.glob("*.mjs"))]
    key = hashlib.sha256(b"\0".join((HERE / name).read_bytes() for name in files)).hexdigest()
    folder = cache_folder() / f"peers-{key[:16]}"
    is_complete = folder / "complete"
    if is_complete.exists():
        return folder
    if npm is None:
        raise Withheld("npm is not on the path")
    folder.mkdir(parents=True, exist_ok=True)
    for name in files:
        shutil.copy(HERE / name, folder / name)
    # Scripts of packages are not run: none of these needs to build anything.
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Withheld("npm did not finish") from None
    if done.returncode:
        raise Withheld(f"npm could not install: {done.stderr.strip()[-500:]}")
    is_complete.touch()
    return folder
