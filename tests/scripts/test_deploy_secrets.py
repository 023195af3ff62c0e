"""No secret stands in a file of the repository; those that a deployment needs can be made."""

import re
import subprocess
from pathlib import Path

import pytest

from gameserver.config import settings
from tests.scripts import deployed
from tests.scripts.deployed import DEPLOY, compose

PLACEHOLDERS = {"PASSWORD", "…", "$(cat"}


@pytest.mark.parametrize("path", deployed.files(), ids=lambda path: path.name)
def test_a_file_holds_no_secret(path: Path) -> None:
    written = path.read_text("utf-8")
    for password in re.findall(
        r"://[\w-]*:([^@\s/\"]+)[^@\s/\"]*(?=@| redis_password| postgres)", written
    ):
        assert password in PLACEHOLDERS, path
    # Whoever asks for a password is given the name of a file.
    for name, value in re.findall(
        r"^\s*-?\s*(\w*(?:PASSWORD|SECRET|TOKEN|API_KEY)\w*)[:=] *(\S+)", written, re.MULTILINE
    ):
        assert name.endswith("_FILE"), (path, name)
        assert value.startswith("/run/secrets/")
    assert "BEGIN PRIVATE KEY" not in written


def test_every_secret_setting_comes_from_a_file() -> None:
    secret = {setting.variable for setting in settings() if setting.secret}
    assert secret
    for path in deployed.files():
        named = set(re.findall(r"\b(GS_[A-Z_]+)\b *[:=]", path.read_text("utf-8")))
        assert named & secret == set(), path


def made(folder: Path) -> dict[str, str]:
    """Run make-secrets, and return what is then in the folder."""
    subprocess.run([DEPLOY / "make-secrets", folder], check=True, capture_output=True, timeout=30)
    return {path.name: path.read_text("utf-8") for path in folder.iterdir()}


def test_every_secret_of_compose_is_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    first = made(folder)
    wanted = {secret["file"] for secret in compose()["secrets"].values()}
    assert {f"./secrets/{name}" for name in first} >= wanted
    assert made(folder) == first
    assert folder.stat().st_mode & 0o077 == 0
    assert first[".gitignore"] == "*\n"


def test_secrets_are_random_and_fit_together(tmp_path: Path) -> None:
    first, second = made(tmp_path / "a"), made(tmp_path / "b")
    passwords = {name: one.strip() for name, one in first.items() if name.endswith("_password")}
    assert len(passwords) == 3
    others = {second[name].strip() for name in passwords}
    assert len(set(passwords.values()) | others) == 6
    assert all(re.fullmatch("[0-9a-f]{48}", password) for password in passwords.values())
    services, postgres = compose()["services"], compose()["services"]["postgres"]["environment"]
    assert "valkey" in services
    user, database = postgres["POSTGRES_USER"], postgres["POSTGRES_DB"]
    password = passwords["postgres_password"]
    assert first["postgres_dsn"] == f"postgresql://{user}:{password}@postgres:5432/{database}\n"
    assert first["redis_url"] == f"redis://:{passwords['redis_password']}@valkey:6379/0\n"
    assert first["valkey_conf"] == f"requirepass {passwords['redis_password']}\n"
    by_name = {setting.name: setting for setting in settings()}
    for name, secret in (("postgres", "postgres_dsn"), ("redis", "redis_url")):
        assert by_name[name].kind.read(first[secret].strip())


def test_every_service_is_given_the_secrets_that_it_reads() -> None:
    declared = compose()["secrets"].keys()
    for name, service in compose()["services"].items():
        given = set(service.get("secrets", ()))
        read = set(re.findall(r"/run/secrets/(\w+)", str(service)))
        assert given == read, name
        assert given <= declared
