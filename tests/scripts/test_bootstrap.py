"""What ``scripts/bootstrap`` answers when there is nothing to do, and when it cannot do it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BOOTSTRAP = ROOT / "scripts" / "bootstrap"
SHELL_TOOLS = ("bash", "cat", "cmp", "dirname", "env", "readlink")


def bootstrap(script: Path, *arguments: str, path: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": path}
    return subprocess.run(
        [script, *arguments],
        env=environment,
        cwd=script.anchor,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture
def pathless(tmp_path: Path) -> str:
    """A PATH with a shell's tools and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in SHELL_TOOLS:
        tool = shutil.which(name)
        assert tool, f"{name} is needed"
        (folder / name).symlink_to(tool)
    return str(folder)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The script in a tree that has no environment yet."""
    tree = tmp_path / "tree with a space"
    shutil.copytree(ROOT / "scripts" / "requirements", tree / "scripts" / "requirements")
    for name in ("bootstrap", "environment.py"):
        shutil.copy(ROOT / "scripts" / name, tree / "scripts" / name)
    return tree / "scripts" / "bootstrap"


@pytest.fixture
def finished(bare: Path) -> Path:
    """The library folder of an environment for the server that is ready for use."""
    tree = bare.parents[1]
    library = tree / ".venv" / "lib"
    library.mkdir(parents=True)
    python = tree / ".venv" / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(shutil.which("true") or "/bin/true")
    lock = (bare.parent / "requirements" / "run.txt").read_text(encoding="utf-8")
    (library / "installed-run").write_text(f"{tree}\n{lock}", encoding="utf-8")
    return library


def test_a_finished_environment_is_left_alone(
    tmp_path: Path, bare: Path, finished: Path, pathless: str
) -> None:
    assert (finished / "installed-run").exists()
    link = tmp_path / "link"
    link.symlink_to(bare)
    done = bootstrap(link, "run", path=pathless)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["unfinished", "installed-run", "../bin/python"])
def test_a_broken_environment_is_not_trusted(
    name: str, bare: Path, finished: Path, pathless: str
) -> None:
    (finished / name).unlink(missing_ok=True)
    (finished / name).write_text("not what was there", encoding="utf-8")
    assert bootstrap(bare, "run", path=pathless).returncode == 2  # No Python to mend it with.


def test_what_serves_the_server_is_not_enough_for_tests(
    bare: Path, finished: Path, pathless: str
) -> None:
    assert (finished / "installed-run").exists()
    assert bootstrap(bare, "dev", path=pathless).returncode == 2


def test_without_a_python_it_says_so_in_one_line(bare: Path, pathless: str) -> None:
    done = bootstrap(bare, "run", path=pathless)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Python 3.11 or newer" in done.stderr


def test_an_old_python_is_passed_over(bare: Path, pathless: str) -> None:
    old = Path(pathless) / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")  # Its answer to the question.
    old.chmod(0o755)
    assert bootstrap(bare, "run", path=pathless).returncode == 2


def test_an_unknown_kind_is_refused() -> None:
    done = bootstrap(BOOTSTRAP, "everything", path=os.environ["PATH"])
    assert done.returncode == 2
    assert done.stderr.startswith("usage:")
