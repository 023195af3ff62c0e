"""The shape of the source tree: who may import whom, what is pure, how long things may be.

The rules are read from the syntax trees of the files; nothing is imported. Each rule has an
example below that breaks it, so a rule that has stopped looking is noticed.
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ROOT_ENTRIES = {
    *("gameserver", "protocol", "persistence", "scripts", "tests"),
    *("pyproject.toml", "README.md", "LICENSE"),
}
PRODUCT = ("gameserver", "protocol", "persistence")
OURS = (*PRODUCT, "scripts", "tests")

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
PARAMETERS_MAX = 6

# (path, rule) -> why the rule does not hold there. An exemption that exempts nothing is reported.
EXEMPTIONS: dict[tuple[str, str], str] = {}

STORES = (
    *("persistence.interfaces", "persistence.ownership", "persistence.directory"),
    *("persistence.auditing", "persistence.sealing"),
)
BELOW_NET = ("gameserver.services", "gameserver.runtime", "gameserver.engine", "protocol")

# Each layer and what of ours it may import besides itself. A layer reaches to all modules below its
# name, but "gameserver" is the package's own file alone: its version, open to every layer.
LAYERS: dict[str, tuple[str, ...]] = {
    "protocol": (),
    "persistence": (),
    "gameserver": (),
    "gameserver.engine": ("protocol",),
    "gameserver.games": ("gameserver.engine", "protocol"),
    "gameserver.runtime": ("gameserver.engine", "protocol", *STORES),
    "gameserver.services": ("gameserver.runtime", "gameserver.engine", "protocol", *STORES),
    "gameserver.net": BELOW_NET,
    "gameserver.config": ("gameserver.engine", "protocol", "persistence.ownership"),
    "gameserver.logs": ("gameserver.config", "gameserver.engine", "protocol"),
    # What the composition root puts together only for a node that is not alone.
    "gameserver.app_cluster": (
        *("gameserver.net", *BELOW_NET, "gameserver.config", "persistence"),
    ),
    "gameserver.app": (
        *("gameserver.app_cluster", "gameserver.net", *BELOW_NET, "gameserver.games"),
        *("gameserver.config", "gameserver.exits", "gameserver.logs", "persistence"),
    ),
    # Several servers under one supervisor.
    "gameserver.supervising": (
        *("gameserver.app", "gameserver.net", "gameserver.runtime.clock", "gameserver.config"),
        *("gameserver.exits", "persistence"),
    ),
    # What operators ask for, put together like the server and beside it.
    "gameserver.operating": (*("gameserver.app", *BELOW_NET, "gameserver.config", "persistence"),),
    "gameserver.operating_cluster": (
        *("gameserver.operating", "gameserver.app", "gameserver.config", "persistence"),
    ),
    # Which of all errors below a person can mend.
    "gameserver.exits": ("gameserver.net", "gameserver.config", "persistence"),
    "gameserver.cli_parts": ("gameserver.exits", "gameserver.config", "gameserver.logs"),
    "gameserver.cli_operating": (
        *("gameserver.operating", "gameserver.operating_cluster", "gameserver.cli_parts"),
        *("gameserver.services.audit.report", "gameserver.exits"),
    ),
    "gameserver.cli_cluster": (
        *("gameserver.operating_cluster", "gameserver.cli_parts", "gameserver.exits"),
        "gameserver.config",
    ),
    "gameserver.cli": (
        *("gameserver.app", "gameserver.cli_parts", "gameserver.cli_operating"),
        *("gameserver.supervising", "gameserver.cli_cluster"),
        *("gameserver.config", "gameserver.exits", "gameserver.logs"),
    ),
    "gameserver.__main__": ("gameserver.cli",),
}

PURE = ("protocol", "gameserver.engine", "gameserver.games")
PURE_EXCEPT = ("protocol.client",)  # The asyncio client waits for a living.
IMPURE_MODULES = {
    # Clocks, chance, identity, and the world outside the process.
    *("asyncio", "time", "datetime", "random", "os", "logging", "uuid", "secrets", "sys"),
    *("io", "pathlib", "tempfile", "shutil", "glob", "fileinput", "mmap", "sqlite3", "dbm"),
    *("socket", "selectors", "select", "ssl", "http", "urllib", "signal", "subprocess"),
    *("threading", "multiprocessing", "concurrent", "queue", "sched", "ctypes", "platform"),
    *("importlib", "pkgutil", "runpy", "locale", "getpass", "zoneinfo"),
    *("aiohttp", "asyncpg", "redis", "uvloop", "websockets", "structlog", "prometheus_client"),
}
IMPURE_CALLS = {
    # hash() of a string differs from one process to the next, and with it whatever it orders.
    *("open", "input", "print", "breakpoint"),
    *("__import__", "eval", "exec", "compile", "hash"),
}


@dataclass(frozen=True)
class Module:
    """One source file, parsed."""

    path: str
    name: str
    text: str
    tree: ast.Module


@dataclass(frozen=True)
class Breach:
    """One place where the tree is not as it should be."""

    path: str
    rule: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message} [{self.rule}]"


def breaches(root: Path, exemptions: dict[tuple[str, str], str] = EXEMPTIONS) -> list[Breach]:
    """Return every breach of every rule in the tree, but for the exemptions."""
    modules = list(_modules(root))
    names = {module.name for module in modules}
    found = list(_root_entries(root))
    for module in modules:
        found += _import_direction(module, names)
        for rule in RULES:
            found += rule(module)
    exempt = {(breach.path, breach.rule) for breach in found} & exemptions.keys()
    idle = [
        Breach(path, rule, 1, "an exemption that exempts nothing")
        for path, rule in sorted(exemptions.keys() - exempt)
    ]
    # Three names imported from one place are one breach.
    kept = dict.fromkeys(breach for breach in found if (breach.path, breach.rule) not in exempt)
    return [*kept, *idle]


def _modules(root: Path) -> Iterator[Module]:
    for top in OURS:
        for file in sorted((root / top).rglob("*.py")):
            path = file.relative_to(root)
            parts = path.with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            text = file.read_text(encoding="utf-8")
            yield Module(path.as_posix(), name, text, ast.parse(text, str(path)))


def _root_entries(root: Path) -> Iterator[Breach]:
    for entry in sorted(root.iterdir()):
        if not entry.name.startswith(".") and entry.name not in ROOT_ENTRIES:
            yield Breach(entry.name, "root", 1, "does not belong at the root")


def _import_direction(module: Module, names: set[str]) -> Iterator[Breach]:
    if not _is_within(module.name, PRODUCT):
        return
    layer = _layer(module.name)
    if layer is None:
        yield Breach(module.path, "layer", 1, f"{module.name} belongs to no layer")
        return
    allowed = LAYERS[layer]
    itself = layer
    if layer == "gameserver.games":  # One game knows nothing of another.
        itself = ".".join(module.name.split(".")[:3])
    for line, target in _imports(module, names):
        if not _is_within(target, OURS) or target in ("gameserver", "gameserver.games"):
            continue
        if itself == "gameserver" or not _is_within(target, (itself, *allowed)):
            yield Breach(module.path, "direction", line, f"{module.name} may not import {target}")


def _layer(name: str) -> str | None:
    if name == "gameserver":
        return name
    parts = name.split(".")
    prefixes = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return next((name for name in prefixes if name in LAYERS and name != "gameserver"), None)


def _imports(module: Module, names: set[str]) -> Iterator[tuple[int, str]]:
    """Yield what a module imports, also inside functions and for type checking alone."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield node.lineno, inner if inner in names else node.module


def _is_within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def _purity(module: Module) -> Iterator[Breach]:
    if not _is_within(module.name, PURE) or _is_within(module.name, PURE_EXCEPT):
        return
    for line, target in _imports(module, set()):
        if target.partition(".")[0] in IMPURE_MODULES:
            yield Breach(module.path, "purity", line, f"a pure module may not import {target}")
    for node in ast.walk(module.tree):
        # Only where it is read: a field of a record may well be named "open".
        if (
            isinstance(node, ast.Name)
            and isinstance(node.ctx, ast.Load)
            and node.id in IMPURE_CALLS
        ):
            yield Breach(module.path, "purity", node.lineno, f"a pure module may not use {node.id}")


def _relative_imports(module: Module) -> Iterator[Breach]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield Breach(module.path, "relative", node.lineno, "a relative import")


def _docstring(module: Module) -> Iterator[Breach]:
    if not module.name.startswith("tests") and not ast.get_docstring(module.tree):
        yield Breach(module.path, "docstring", 1, "the module does not say what it knows")


def _sizes(module: Module) -> Iterator[Breach]:
    if module.name.startswith("tests"):
        return
    lines = module.text.count("\n")
    if lines > FILE_LINES_MAX:
        yield Breach(module.path, "file-lines", lines, f"{lines} lines")
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > FUNCTION_LINES_MAX:
            message = f"{node.name} has {lines} lines"
            yield Breach(module.path, "function-lines", node.lineno, message)
        names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args)]
        count = len(names) + len(node.args.kwonlyargs) - (names[:1] in (["self"], ["cls"]))
        if count > PARAMETERS_MAX:
            message = f"{node.name} has {count} parameters"
            yield Breach(module.path, "parameters", node.lineno, message)


RULES: tuple[Callable[[Module], Iterator[Breach]], ...] = (
    _purity,
    _relative_imports,
    _docstring,
    _sizes,
)


def test_the_tree_keeps_its_rules() -> None:
    assert len(list(_modules(ROOT))) > len(OURS)
    found = breaches(ROOT)
    assert not found, "\n" + "\n".join(map(str, found))


# A tree in small where every kind of import that is allowed occurs.
SOUND = {
    "README.md": "",
    "gameserver/__init__.py": '__version__ = "1"',
    "gameserver/__main__.py": "from gameserver.cli import main",
    "gameserver/cli.py": "from gameserver import __version__, app\ndef main(): app.serve()",
    "gameserver/app.py": "import gameserver.games.keno.bet\nfrom persistence import memory",
    "gameserver/config.py": "import os, protocol.codec",
    "gameserver/engine/dice.py": "import hashlib\nfrom protocol import codec",
    "gameserver/engine/system.py": "class System:\n    open: bool = True",
    "gameserver/games/keno/bet.py": "from gameserver.engine import dice",
    "gameserver/games/keno/game.py": "from gameserver.games.keno.bet import X",
    "gameserver/games/quiz/game.py": "from protocol.codec import X",
    "gameserver/net/socket.py": "import asyncio\nimport gameserver.services.wallet",
    "gameserver/runtime/host.py": "import time\nfrom persistence.interfaces import X",
    "gameserver/services/wallet.py": "import gameserver.engine.dice, persistence.sealing",
    "persistence/interfaces.py": "import datetime",
    "persistence/memory.py": "from persistence import interfaces",
    "persistence/sealing.py": "",
    "protocol/client.py": "import asyncio, time\nfrom protocol import codec",
    "protocol/codec.py": "import zlib",
    "scripts/bench.py": "from persistence import memory",
    "tests/test_bet.py": "def test_one(a, b, c, d, e, f, g): ...\n" * 401,
}


def _tree(root: Path, files: dict[str, str]) -> Path:
    for path, source in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        docstring = "" if "silent" in path else '"""What it knows."""\n'
        file.write_text(f"{docstring}{source}\n", encoding="utf-8")
    return root


def test_a_sound_tree_passes(tmp_path: Path) -> None:
    assert breaches(_tree(tmp_path, SOUND)) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("protocol/codec.py", "import persistence.interfaces"),
        ("protocol/codec.py", "from gameserver import engine"),
        ("protocol/client.py", "import gameserver.engine.dice"),
        ("persistence/memory.py", "import protocol.codec"),
        ("persistence/memory.py", "from tests import test_bet"),
        ("gameserver/__init__.py", "from gameserver.engine import dice"),
        ("gameserver/engine/dice.py", "import gameserver.games.keno.bet"),
        ("gameserver/engine/dice.py", "def late():\n    from gameserver.runtime import host"),
        ("gameserver/engine/dice.py", "import persistence.interfaces"),
        ("gameserver/games/keno/bet.py", "import gameserver.games.quiz.game"),
        ("gameserver/games/keno/bet.py", "from gameserver.games import quiz"),
        ("gameserver/games/keno/bet.py", "import gameserver.runtime.host"),
        ("gameserver/runtime/host.py", "from gameserver.games.keno import bet"),
        ("gameserver/runtime/host.py", "from persistence import memory"),
        ("gameserver/runtime/host.py", "from persistence.memory import A, B, C"),
        ("gameserver/runtime/host.py", "import gameserver.services.wallet"),
        ("gameserver/services/wallet.py", "import gameserver.net.socket"),
        ("gameserver/services/wallet.py", "from persistence.memory import X"),
        ("gameserver/net/socket.py", "from persistence import interfaces"),
        ("gameserver/net/socket.py", "import gameserver.app"),
        ("gameserver/config.py", "import gameserver.runtime.host"),
        ("gameserver/app.py", "from gameserver import cli"),
        ("gameserver/app.py", "import scripts.bench"),
        ("gameserver/cli.py", "from persistence import memory"),
        ("gameserver/cli.py", "import gameserver.games.quiz.game"),
    ],
)
def test_an_import_against_the_direction_is_reported(
    path: str, source: str, tmp_path: Path
) -> None:
    quiz = {"gameserver/engine/__init__.py": "", "gameserver/games/quiz/__init__.py": ""}
    assert breaches(_tree(tmp_path, SOUND | quiz)) == []
    _tree(tmp_path, {path: source})
    assert [(breach.path, breach.rule) for breach in breaches(tmp_path)] == [(path, "direction")]


@pytest.mark.parametrize(
    ("path", "source", "rule"),
    [
        ("gameserver/engine/dice.py", "import random", "purity"),
        ("gameserver/engine/dice.py", "from os.path import join", "purity"),
        ("gameserver/games/keno/bet.py", "def f():\n    import asyncio.queues", "purity"),
        ("gameserver/games/keno/bet.py", "rows = open('rows')", "purity"),
        ("gameserver/games/keno/bet.py", "now = __import__('time').time()", "purity"),
        ("protocol/codec.py", "read = eval", "purity"),
        ("protocol/codec.py", "order = hash('a')", "purity"),
        ("gameserver/engine/dice.py", "from . import room", "relative"),
        ("tests/test_bet.py", "from .helpers import check", "relative"),
        ("gameserver/extra.py", "", "layer"),
        ("gameserver/net/long.py", "x = 1\n" * 400, "file-lines"),
        ("scripts/long.py", "x = 1\n" * 400, "file-lines"),
        ("gameserver/net/long.py", "async def f():\n" + "    x = 1\n" * 60, "function-lines"),
        ("gameserver/net/wide.py", "def f(a, b, c, d, /, e, *, f, g): ...", "parameters"),
        (
            "gameserver/net/wide.py",
            "class A:\n    def f(self, a, b, c, d, e, f, g): ...",
            "parameters",
        ),
        ("gameserver/net/silent.py", "x = 1", "docstring"),
        ("deploy/Dockerfile", "", "root"),
        ("notes.txt", "", "root"),
    ],
)
def test_what_breaks_a_rule_is_reported(path: str, source: str, rule: str, tmp_path: Path) -> None:
    _tree(tmp_path, SOUND | {path: source})
    found = [(breach.path, breach.rule) for breach in breaches(tmp_path)]
    assert found == [(path.partition("/")[0] if rule == "root" else path, rule)]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("gameserver/net/wide.py", "class A:\n    def f(self, a, b, c, d, e, f): ..."),
        ("gameserver/net/long.py", "def f():\n" + "    x = 1\n" * 59),
        ("gameserver/net/long.py", "x = 1\n" * 398),
    ],
)
def test_what_is_just_within_a_limit_passes(path: str, source: str, tmp_path: Path) -> None:
    assert breaches(_tree(tmp_path, SOUND | {path: source})) == []


def test_an_exemption_holds_for_its_own_rule_and_is_reported_when_idle(tmp_path: Path) -> None:
    path = "gameserver/net/wide.py"
    _tree(tmp_path, SOUND | {path: "def f(a, b, c, d, e, f, g): ..."})
    assert breaches(tmp_path, {(path, "parameters"): "a callback of another library"}) == []
    found = breaches(tmp_path, {(path, "file-lines"): "none"})
    assert [breach.rule for breach in found] == ["parameters", "file-lines"]
