"""The files under ``scripts/deploy`` as tests look at them: parsed, or as plain text."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from gameserver.config import Config, settings
from gameserver.config.sources import load

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "scripts" / "deploy"
BASE = DEPLOY / "kubernetes" / "base"
SECRET_FILE = "_FILE"


def files() -> list[Path]:
    """Every file that is kept, so none of the secrets that somebody made."""
    made = DEPLOY / "secrets"
    return sorted(path for path in DEPLOY.rglob("*") if path.is_file() and made not in path.parents)


def text(name: str) -> str:
    """The content of a file."""
    return (DEPLOY / name).read_text("utf-8")


def documents(path: Path) -> list[Any]:
    """The documents of a YAML file."""
    return list(yaml.safe_load_all(path.read_text("utf-8")))


def compose() -> dict[str, Any]:
    """compose.yaml."""
    (document,) = documents(DEPLOY / "compose.yaml")
    assert isinstance(document, dict)
    return document


def nodes() -> dict[str, Any]:
    """The services of compose.yaml that are game servers."""
    return {
        name: service for name, service in compose()["services"].items() if name.startswith("node-")
    }


def kubernetes(folder: Path = BASE) -> Iterator[dict[str, Any]]:
    """The objects that a folder declares."""
    for path in sorted(folder.glob("*.yaml")):
        if path.name != "kustomization.yaml":
            yield from documents(path)


def kind(name: str, called: str = "gameserver") -> dict[str, Any]:
    """The one object of a kind and a name."""
    (found,) = (
        one for one in kubernetes() if one["kind"] == name and one["metadata"]["name"] == called
    )
    return found


def pod() -> dict[str, Any]:
    """What a pod of the StatefulSet is made of."""
    spec = kind("StatefulSet")["spec"]["template"]["spec"]
    assert isinstance(spec, dict)
    return spec


def container() -> dict[str, Any]:
    """The container of the StatefulSet that is the server."""
    (found,) = pod()["containers"]
    assert isinstance(found, dict)
    return found


def image_environment() -> dict[str, str]:
    """The variables that the image sets."""
    return dict(re.findall(r"\b(GS_[A-Z_]+)=(\S+)", text("Dockerfile")))


def pod_environment() -> dict[str, str]:
    """The variables of the first pod, those of other variables filled in."""
    found = {**image_environment(), **kind("ConfigMap")["data"]}
    told = {"metadata.name": "gameserver-0", "metadata.namespace": "play"}
    ours: dict[str, str] = {}
    for one in container()["env"]:
        if "value" in one:
            # Only what stands before can be referred to, and never what comes from a ConfigMap.
            ours[one["name"]] = re.sub(r"\$\((\w+)\)", lambda name: ours[name[1]], one["value"])
        else:
            ours[one["name"]] = told[one["valueFrom"]["fieldRef"]["fieldPath"]]
    return {**found, **ours}


def node_environment(service: dict[str, Any]) -> dict[str, str]:
    """The variables of a node of compose.yaml, as they are when nothing is set around it."""
    plain = {
        name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value)
        for name, value in service["environment"].items()
    }
    return {**image_environment(), **plain}


def unit() -> list[tuple[str, str]]:
    """The lines of the systemd unit."""
    lines = text("systemd/gameserver@.service").splitlines()
    return [(key, value) for key, _, value in (line.partition("=") for line in lines) if value]


def unit_environment() -> dict[str, str]:
    """The variables of the unit for a node called ``a``."""
    found = dict(
        word.split("=", 1)
        for key, value in unit()
        if key == "Environment"
        for word in value.split()
    )
    for file in ("common.env", "node.env"):
        lines = text(f"systemd/{file}").splitlines()
        found |= dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    places = {"%i": "a", "%S": "/var/lib", "%d": "/run/credentials"}
    return {
        name: re.sub("%[iSd]", lambda place: places[place[0]], value)
        for name, value in found.items()
    }


def secrets(folder: Path) -> dict[str, str]:
    """Stand-ins for the secrets that a server reads, written to ``folder``, by variable."""
    contents = {
        "GS_POSTGRES_FILE": "postgresql://u:p@h/d",
        "GS_REDIS_FILE": "redis://:p@h:6379/0",
    }
    for name, content in contents.items():
        (folder / name).write_text(content)
    return {name: str(folder / name) for name in contents}


def config_of(environment: dict[str, str], folder: Path) -> Config:
    """The settings that a server takes from these variables; it must find nothing odd in them."""
    named = {name for name in environment if name.startswith("GS_") and name.endswith(SECRET_FILE)}
    assert named == secrets(folder).keys()
    loaded = load({}, environment | secrets(folder))
    assert loaded.warnings == ()
    return loaded.config


def variables() -> set[str]:
    """Every variable that the server knows."""
    known = {setting.variable for setting in settings()}
    hidden = {setting.variable + SECRET_FILE for setting in settings() if setting.secret}
    return known | hidden | {"GS_CONFIG"}
