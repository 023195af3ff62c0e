"""Two small C programs, built when they are first needed: a load client and a bare server.

Python clients cannot read 100,000 frames a second. `load.c` plays many players over WebSocket,
`fanout.c` sends one frame to many connections and nothing else: what the kernel's part costs.
Without a compiler the figures that need them are withheld.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from scripts.bench.measuring import Withheld, cache_folder

SOURCES = Path(__file__).resolve().parent
FLAGS = ("-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra")
COMPILERS = ("cc", "gcc", "clang")
COMPILE_TIMEOUT_S = 120


def compiler() -> str:
    """Return the system's C compiler, or raise Withheld."""
    for name in COMPILERS:
        found = shutil.which(name)
        if found is not None:
            return found
    raise Withheld(f"no C compiler: none of {', '.join(COMPILERS)} is on the path")


def built(name: str, *more_flags: str) -> Path:
    """Return the program ``name``, which is built if these sources were never built before."""
    found = compiler()
    texts = [path.read_bytes() for path in sorted(SOURCES.glob("*.[ch]"))]
    flags = [*FLAGS, *more_flags]
    key = hashlib.sha256(b"\0".join([found.encode(), *map(str.encode, flags), *texts])).hexdigest()
    folder = cache_folder() / f"native-{key[:16]}"
    program = folder / name
    if program.exists():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{name}.{os.getpid()}"
    command = [found, *flags, "-o", str(draft), str(SOURCES / f"{name}.c")]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S, check=False
    )
    if done.returncode:
        raise Withheld(f"{name}.c does not compile: {done.stderr.strip()}")
    draft.replace(program)  # Two that build at once do not disturb each other.
    return program
