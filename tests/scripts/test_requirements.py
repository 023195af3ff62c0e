"""The lock files hold what pyproject.toml asks for, hashed, and nothing of any machine."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def lock(kind: str) -> str:
    return (ROOT / "scripts" / "requirements" / f"{kind}.txt").read_text(encoding="utf-8")


def locked(kind: str) -> dict[str, str]:
    """Names and versions in a lock."""
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", lock(kind), re.MULTILINE))


def names(requirements: list[str]) -> set[str]:
    found = [re.match(r"[\w.-]+", requirement) for requirement in requirements]
    return {match.group() for match in found if match}


def test_the_server_finds_all_it_needs_in_its_lock() -> None:
    project = PROJECT["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["embedded"]]
    assert names(asked) <= locked("run").keys()


def test_tests_and_checks_find_all_they_need_in_their_lock() -> None:
    groups = PROJECT["dependency-groups"]
    assert names([*groups["test"], *groups["check"]]) <= locked("dev").keys()


def test_an_environment_for_development_has_the_server_s_versions() -> None:
    assert locked("run").items() <= locked("dev").items()


@pytest.mark.parametrize("kind", ["run", "dev"])
def test_every_package_has_hashes(kind: str) -> None:
    entries = re.split(r"^(?=[\w.-]+==)", lock(kind), flags=re.MULTILINE)[1:]
    assert len(entries) == len(locked(kind))
    assert [entry.split("==")[0] for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("kind", ["run", "dev"])
def test_a_lock_names_no_index_and_no_place(kind: str) -> None:
    option = r"^\s*(-i|-f|-e|--(?!hash=)\S+)|://| @ |^\s*[./]"
    assert re.findall(option, lock(kind), re.MULTILINE) == []
