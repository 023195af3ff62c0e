"""The checkout's virtual environment, made or mended from a lock file.

Started by ``scripts/bootstrap`` with a bare Python, so it uses the standard library only.
It knows pip and, where it happens to be installed, uv; it does not know what is in the locks.

An environment is trusted only if it has a stamp and is not marked as unfinished. The stamp holds
the place of the tree (an environment cannot be moved) and the lock that was installed.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UNFINISHED = VENV / "lib" / "unfinished"

# pip is refused anything but wheels whose hashes are in the lock, and works nothing out by itself.
LOCKED = ("--quiet", "--require-hashes", "--no-deps", "--only-binary=:all:")
COMMAND_TIMEOUT_S = 1200  # Long enough for a slow line, short enough for a hung one to be noticed.

KINDS = ("run", "dev")  # Each has all that those before it have.


class CommandFailed(Exception):
    """A command that builds the environment ended with an error; its output is the message."""


def main(kind: str) -> None:
    """Bring the environment up to what ``kind`` needs, unless it is there already."""
    with _locked():
        if _is_current(kind):  # Another call was faster.
            return
        # What was made for development stays so: a newer lock must not take the tools away.
        if kind == "run" and _stamp("dev").exists():
            kind = "dev"
        start_s = time.monotonic()
        print("bootstrap   preparing .venv, once: this may take a minute", file=sys.stderr)
        installer = _build(kind)
        version = ".".join(map(str, _venv_version() or ()))
        count = len(_locked_names(kind))
        print(
            f"bootstrap   Python {version}, {count} packages into .venv"
            f" (locked, hashed, by {installer})  {time.monotonic() - start_s:.0f} s",
            file=sys.stderr,
        )


@contextmanager
def _locked() -> Iterator[None]:
    """Hold the lock for one builder at a time; the kernel lets go of it when a builder dies."""
    with (ROOT / ".venv.lock").open("w") as file:
        # Installers inherit the lock, so that none writes on after its parent was killed.
        os.set_inheritable(file.fileno(), True)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("bootstrap   waiting for another call that prepares .venv", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(kind: str) -> str:
    """Mend the environment if it was ever finished, else make it anew; say which installer did."""
    if UNFINISHED.exists() or not _is_finished() or _venv_version() is None:
        _create()
    UNFINISHED.touch()
    try:
        installer = _install(kind)
    except CommandFailed:
        UNFINISHED.unlink()  # An installer that fails cleans up behind itself; a killed one cannot.
        raise
    for done in KINDS[: KINDS.index(kind) + 1]:
        _write_stamp(done)
    UNFINISHED.unlink()
    return installer


def _create() -> None:
    if VENV.is_symlink() or VENV.is_file():
        VENV.unlink()
    elif VENV.exists():
        shutil.rmtree(VENV)
    try:
        _run(sys.executable, "-m", "venv", VENV)
    except CommandFailed:
        # Debian keeps ensurepip in a package of its own; the Python outside can serve with its pip.
        shutil.rmtree(VENV, ignore_errors=True)
        _run(sys.executable, "-m", "venv", "--without-pip", VENV)


def _install(kind: str) -> str:
    lock = _lock(kind)
    uv = shutil.which("uv")
    if uv is not None:
        try:
            _run(uv, "pip", "sync", "--python", PYTHON, "--require-hashes", "--no-build", lock)
        except CommandFailed:
            # uv reads no pip.conf, so a mirror that serves pip may be out of its reach.
            pass
        else:
            return "uv"
    pip = _pip()
    _run(*pip, "install", *LOCKED, "-r", lock)
    surplus = _installed_names(pip) - _locked_names(kind) - {"pip", "setuptools", "wheel"}
    if surplus:
        _run(*pip, "uninstall", "--yes", *sorted(surplus))
    return "pip"


def _pip() -> list[str | Path]:
    try:
        _run(PYTHON, "-m", "pip", "--version")
    except CommandFailed:
        return [sys.executable, "-m", "pip", "--python", PYTHON]
    return [PYTHON, "-m", "pip"]


def _installed_names(pip: list[str | Path]) -> set[str]:
    rows = json.loads(_run(*pip, "list", "--format=json"))
    return {_normal(row["name"]) for row in rows}


def _locked_names(kind: str) -> set[str]:
    """Every name in the lock, also those for other platforms."""
    names = re.findall(r"^([\w.-]+)==", _lock(kind).read_text(), re.MULTILINE)
    return {_normal(name) for name in names}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _run(*command: str | Path) -> str:
    """Run a command to its end and return what it printed, or raise with it."""
    # The user's own settings for pip still hold (mirrors, certificates), but not those which
    # would install outside the environment.
    environment = os.environ | {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            close_fds=False,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise CommandFailed(f"{_line(command)}\n{error.stdout}{error.stderr}") from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{_line(command)}: no end in {COMMAND_TIMEOUT_S} s") from error
    return done.stdout


def _line(command: tuple[str | Path, ...]) -> str:
    return " ".join(map(str, command))


def _venv_version() -> tuple[int, int, int] | None:
    """The version of the environment's Python, or None if it does not run or is too old."""
    try:
        text = _run(PYTHON, "-I", "-S", "-c", "import sys; print(*sys.version_info[:3])")
    except (CommandFailed, OSError):
        return None
    major, minor, micro = map(int, text.split())
    return (major, minor, micro) if (major, minor) >= (3, 11) else None


def _lock(kind: str) -> Path:
    return ROOT / "scripts" / "requirements" / f"{kind}.txt"


def _stamp(kind: str) -> Path:
    return VENV / "lib" / f"installed-{kind}"


def _stamp_bytes(kind: str) -> bytes:
    return f"{ROOT}\n".encode() + _lock(kind).read_bytes()


def _is_finished() -> bool:
    """Whether any stamp for this place is there, be it of an older lock."""
    places = [_stamp(kind).read_bytes() for kind in KINDS if _stamp(kind).is_file()]
    return any(place.startswith(f"{ROOT}\n".encode()) for place in places)


def _is_current(kind: str) -> bool:
    stamp = _stamp(kind)
    if UNFINISHED.exists() or not stamp.is_file() or stamp.read_bytes() != _stamp_bytes(kind):
        return False
    return _venv_version() is not None


def _write_stamp(kind: str) -> None:
    draft = _stamp(kind).with_suffix(".draft")
    draft.write_bytes(_stamp_bytes(kind))
    draft.replace(_stamp(kind))


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except (CommandFailed, OSError) as error:
        print(f"bootstrap   could not prepare {VENV}: {error}", file=sys.stderr)
        sys.exit(1)
