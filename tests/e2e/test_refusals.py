"""What bad input gets at the command line: the object named, the help given, the exit code, nothing lost.

A copy of the project with a data home of its own; the model server is a small Python script, so that a pool
is up in a moment. One host serves the file; a good stack is deployed first and must survive each refusal.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
SERVER = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"data": []}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""
SERVICE = {
    "model": {"path": "tiny", "served_name": "tiny"},
    "image": {"driver": "process"},
    "cpu": 1,
    "memory_gb": 1,
    "command": ["python3", "-c", SERVER, "${port}"],
    "storage": {"server": "local:/models", "mount_dir": "/mnt/models"},
}
pytestmark = pytest.mark.timeout(180)


class Project:
    """The copy, and the real command run in it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "project"
        for name in ("__main__.py", "Pulumi.yaml", "components", "policies", "stacks"):
            source = REPOSITORY / name
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            self.root.mkdir(exist_ok=True)
            copy(source, self.root / name)
        self.home = folder / "home"
        (self.home / "nas/models/tiny").mkdir(parents=True)
        self.env = {**os.environ, "TICKOVER_HOME": str(self.home), "PYTHONPATH": str(REPOSITORY)}
        for name in ("PULUMI_STACK", "PULUMI_BACKEND_URL", "PULUMI_HOME", "PULUMI_CONFIG_PASSPHRASE"):
            self.env.pop(name, None)

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tickover", *words],
            cwd=self.root,
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def ok(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refused(self, code: int, *words: str, saying: tuple[str, ...], **env: str) -> str:
        done = self.run(*words, **env)
        said = " ".join((done.stdout + done.stderr).split())  # lines are folded to the terminal's width
        assert done.returncode == code, f"{done.returncode}: {done.stdout}{done.stderr}"
        for part in saying:
            assert part in said, f"{part!r} is not in: {said}"
        assert "Traceback" not in done.stderr
        return said

    def services(self, **services: dict[str, Any]) -> None:
        config = {"tickover:target": "host", "tickover:services": services}
        (self.root / "stacks/Pulumi.dev.yaml").write_text(yaml.safe_dump({"config": config}))

    def instances(self) -> list[tuple[str, int]]:
        found = json.loads(self.ok("ps", "--json"))["instances"]
        return sorted((i["instance_id"], i["pid"]) for i in found if i["state"] in ("ready", "idle", "busy"))

    def state(self) -> list[str]:
        deployment = json.loads(self.ok("stack", "export", "-s", "dev"))["deployment"]
        return [r["urn"] for r in deployment["resources"]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(tmp_path_factory.mktemp("refusals"))
    project.ok("host", "start", "--port", "0")
    try:
        project.services(chat=SERVICE)
        project.ok("up", "-s", "dev", "--yes")
        yield project
    finally:
        project.run("host", "start")
        project.services(chat=SERVICE)
        project.run("destroy", "-s", "dev", "--yes")
        project.ok("host", "stop")


@pytest.fixture(autouse=True)
def nothing_is_lost(project: Project) -> Iterator[None]:
    """Each refusal leaves the instances and the state of the good stack as they were."""
    project.services(chat=SERVICE)
    instances, state = project.instances(), project.state()
    assert len(instances) == 1
    yield
    project.services(chat=SERVICE)
    assert project.instances() == instances
    project.ok("up", "-s", "dev", "--yes")
    assert sorted(project.state()) == sorted(state)


def test_unknown_stack(project: Project) -> None:
    project.refused(6, "preview", "-s", "dve", saying=("Stack not found", "Did you mean `dev`?"))


CONFIG: list[tuple[str, Callable[[], dict[str, Any]], tuple[str, ...]]] = [
    (
        "key and type, both at once",
        lambda: {"chat": {**SERVICE, "pol": {}, "instance_concurrency": "many"}},
        ("tickover:services.chat.pol", "pool", "tickover:services.chat.instance_concurrency"),
    ),
    (
        "schedule",
        lambda: {"chat": {**SERVICE, "pool": {"schedules": [{"cron": "0 0 25 * * *", "instances": 1}]}}},
        ("tickover:services.chat.pool.schedules[0]", "25"),
    ),
    (
        "two functions of one name",
        lambda: {"chat": SERVICE, "other": {**SERVICE, "function_name": "chat-dev"}},
        ("chat-dev", "chat", "other"),
    ),
    (
        "gpu type",
        lambda: {"chat": {**SERVICE, "gpu": {"type": "fc.gpu.ada.9"}}},
        ("tickover:services.chat.gpu.type", "did you mean fc.gpu.ada."),
    ),
]


@pytest.mark.parametrize(("services", "saying"), [c[1:] for c in CONFIG], ids=[c[0] for c in CONFIG])
@pytest.mark.parametrize("command", [("preview",), ("up", "--yes")], ids=lambda c: c[0])
def test_config_mistakes_have_their_key_path(
    project: Project,
    command: tuple[str, ...],
    services: Callable[[], dict[str, Any]],
    saying: tuple[str, ...],
) -> None:
    project.services(**services())
    project.refused(2, *command, "-s", "dev", saying=saying)


def test_unknown_top_level_key(project: Project) -> None:
    path = project.root / "stacks/Pulumi.dev.yaml"
    path.write_text(path.read_text().replace("tickover:services", "tickover:servces"))
    project.refused(2, "preview", "-s", "dev", saying=("tickover:servces", "tickover:services"))


def test_model_path_absent(project: Project) -> None:
    storage = {"server": "local:/absent", "mount_dir": "/mnt/models"}
    project.services(chat=SERVICE, second={**SERVICE, "storage": storage})
    project.refused(4, "up", "-s", "dev", "--yes", saying=("absent", "second-dev"))


def test_alias_to_a_missing_version(project: Project) -> None:
    project.services(chat={**SERVICE, "version": "99"})
    project.refused(4, "up", "-s", "dev", "--yes", saying=("99", "chat"))


def test_port_already_taken(project: Project, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        home = str(tmp_path / "other")
        project.refused(1, "host", "start", "--port", port, saying=(port, "--port"), TICKOVER_HOME=home)


def test_image_by_tag_only_in_prod(project: Project) -> None:
    path = project.root / "stacks/Pulumi.prod.yaml"
    original = path.read_text()
    document = yaml.safe_load(original)
    document["config"]["tickover:services"]["chat"]["image"] = "registry.example/vllm-openai:v0.32.0"
    path.write_text(yaml.safe_dump(document))
    said = ("image-pinned", "digest")
    project.refused(5, "preview", "-s", "prod", "--policy-pack", "policies", saying=said)
    path.write_text(original)


def test_a_held_lock_says_whose_and_how_to_break_it(project: Project) -> None:
    folder = project.home / "state/.pulumi/locks/organization/tickover/dev"
    folder.mkdir(parents=True, exist_ok=True)
    lock = {"pid": 1, "username": "eve", "hostname": "elsewhere", "timestamp": "2026-11-23T00:00:00Z"}
    (folder / "one.json").write_text(json.dumps(lock))
    said = ("eve@elsewhere", "2026-11-23", "tickover cancel -s dev")
    project.refused(1, "up", "-s", "dev", "--yes", saying=said)
    project.ok("preview", "-s", "dev")  # previews take no lock
    project.ok("cancel", "-s", "dev", "--yes")


def test_wrong_credentials(project: Project) -> None:
    path = project.home / "host/credentials.json"
    original = path.read_text()
    path.write_text(original.replace(json.loads(original)["access_key_secret"], "wrong"))
    project.services(chat={**SERVICE, "instance_concurrency": 3})
    try:
        project.refused(3, "up", "-s", "dev", "--yes", saying=("SignatureNotMatch", "chat-dev"))
    finally:
        path.write_text(original)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere; the full disk is tested for both")
def test_read_only_state_folder(project: Project) -> None:
    folder = project.home / "state/.pulumi/locks/organization/tickover/dev"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o500)
    try:
        project.refused(1, "up", "-s", "dev", "--yes", saying=("state", "written"))
    finally:
        folder.chmod(0o700)


def test_host_not_running(project: Project, tmp_path: Path) -> None:
    home = str(tmp_path / "none")
    project.refused(1, "ps", saying=("Host is not running", "tickover host start"), TICKOVER_HOME=home)
    project.refused(
        4,
        "up",
        "-s",
        "dev",
        "--yes",
        saying=("Host is not running", "tickover host start"),
        TICKOVER_HOME=home,
    )


def test_errors_as_json(project: Project) -> None:
    done = project.run("preview", "-s", "dve", "--json")
    assert done.returncode == 6
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "stack-not-found" and error["exit_code"] == 6


def test_command_line_typo(project: Project) -> None:
    project.refused(2, "prevew", saying=("Did you mean 'preview'?",))
