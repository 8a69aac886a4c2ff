"""The main job in a clone of its own, at another path, with a new HOME: what the README promises.

One clone serves the whole file and is taken down at its end; the tests run in file order and each says
what it relies on. Real parts only: the installed commands, SmolLM2, the openai client.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml

from tickover.host.gpu.sequence import is_stopped

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.timeout(900)


class Clone:
    """A checkout of the working tree with its own HOME."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a clone"  # the space is deliberate
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            "LANG": "C.UTF-8",
            **{k: v for k, v in os.environ.items() if k.startswith(("PIP_", "SSL_", "REQUESTS_"))},
        }
        (folder / "home").mkdir()
        names = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"],
            cwd=REPOSITORY,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.splitlines()
        for name in names:
            if (REPOSITORY / name).is_file():
                target = self.root / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(REPOSITORY / name, target)
        self.dev_yaml = self.root / "stacks/Pulumi.dev.yaml"

    def run(self, *command: str, expect: int = 0, seconds: float = 600) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == expect, (
            f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        )
        return done

    def tickover(self, *args: str, expect: int = 0) -> str:
        return self.run(".venv/bin/tickover", *args, expect=expect).stdout

    def json(self, *args: str) -> Any:
        return json.loads(self.tickover(*args, "--json"))

    def instances(self) -> list[dict[str, Any]]:
        return [i for i in self.json("ps")["instances"] if i["state"] not in ("stopped", "failed")]

    def edit_dev(self, change: Callable[[dict[str, Any]], None]) -> None:
        document = yaml.safe_load(self.dev_yaml.read_text())
        change(document["config"]["tickover:services"]["chat"])
        self.dev_yaml.write_text(yaml.safe_dump(document, sort_keys=False))

    def client(self) -> tuple[openai.OpenAI, str]:
        outputs = self.json("stack", "output", "-s", "dev")
        base = outputs["urls"]["chat"].rstrip("/") + "/v1"
        return openai.OpenAI(base_url=base, api_key="unused", max_retries=0, timeout=60), outputs["models"][
            "chat"
        ]


def eventually(what: str, condition: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.2)


def processes_of(root: Path) -> list[str]:
    """Command lines of processes that run from, or in, a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            cwd = os.readlink(entry / "cwd")
        except OSError:
            continue  # gone, or another user's
        if str(root) in command or cwd.startswith(str(root)):
            found.append(f"{entry.name} {command}")
    return found


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    clone = Clone(tmp_path_factory.mktemp("main-job"))
    try:
        clone.env["MADE"] = clone.run("make", "up", "PORT=0").stdout
        yield clone
    finally:
        if (clone.root / ".tickover/host/host.json").exists():
            clone.run("make", "down")


def test_make_up_shows_what_the_readme_promises(clone: Clone) -> None:
    said = clone.env["MADE"]
    for pattern in (
        r"tickover:fc:ProvisionConfig",  # the plan, as a tree of resources
        r"(?i)per month.*busy|busy.*per month",
        r"http://127\.0\.0\.1:\d+/fn/chat-dev",
        r"curl ",
        r"(?i)idle",
        r"(?i)first byte",
        r"CNY",
    ):
        assert re.search(pattern, said), f"{pattern} not in what make up printed:\n{said}"


def test_chat_and_stream_with_the_openai_client(clone: Clone) -> None:
    client, model = clone.client()
    answer = client.chat.completions.create(
        model=model,
        max_tokens=24,
        temperature=0,
        messages=[{"role": "user", "content": "What is the capital of France?"}],
    )
    assert "Paris" in (answer.choices[0].message.content or "")
    stream = client.chat.completions.create(
        model=model,
        max_tokens=24,
        stream=True,
        temperature=0,
        messages=[{"role": "user", "content": "What is the capital of France?"}],
    )
    pieces = [c.choices[0].delta.content or "" for c in stream if c.choices]
    assert len([p for p in pieces if p]) > 3
    assert "Paris" in "".join(pieces)


def test_goes_idle_frozen_and_wakes_on_request(clone: Clone) -> None:
    instance = eventually("idle", lambda: [i for i in clone.instances() if i["state"] == "idle"])[0]
    assert is_stopped(instance["pid"]), "an idle process is stopped, by its cgroup or by a signal"
    client, model = clone.client()
    raw = client.chat.completions.with_raw_response.create(
        model=model, max_tokens=4, messages=[{"role": "user", "content": "Hi"}]
    )
    assert raw.headers["x-tickover-woke"] == "true"
    assert raw.headers["x-fc-instance-id"] == instance["instance_id"]


def test_second_up_changes_nothing(clone: Clone) -> None:
    before = clone.instances()
    said = clone.tickover("up", "-s", "dev", "--yes", "--expect-no-changes")
    assert re.search(r"(?i)no changes|nothing (to|changes)", said)
    clone.tickover("preview", "-s", "dev", "--expect-no-changes")
    assert [i["instance_id"] for i in clone.instances()] == [i["instance_id"] for i in before]


def test_bill_grows_and_adds_up(clone: Clone) -> None:
    bill = clone.json("bill")
    assert float(bill["busy"]) > 0
    assert float(bill["idle"]) > 0
    assert float(bill["cny"]) > 0


def test_schedule_grows_and_shrinks_the_pool_in_real_time(clone: Clone) -> None:
    original = clone.dev_yaml.read_text()
    start = time.time() + 20
    at = [time.strftime("at(%Y-%m-%dT%H:%M:%S)", time.gmtime(start + offset)) for offset in (0, 20)]

    def plan(chat: dict[str, Any]) -> None:
        chat["pool"]["schedules"] = [{"at": at[0], "instances": 2}, {"at": at[1], "instances": 1}]

    clone.edit_dev(plan)
    assert clone.run(".venv/bin/tickover", "preview", "-s", "dev", "--expect-no-changes", expect=7)
    clone.tickover("up", "-s", "dev", "--yes")
    eventually(
        "two instances", lambda: len([i for i in clone.instances() if i["state"] in ("ready", "idle")]) == 2
    )
    eventually("one instance", lambda: len(clone.instances()) == 1)
    clone.dev_yaml.write_text(original)
    clone.tickover("up", "-s", "dev", "--yes")


def test_update_is_new_before_old_and_rollback_is_an_alias_move(clone: Clone) -> None:
    (old,) = clone.instances()
    original = clone.dev_yaml.read_text()

    def longer(chat: dict[str, Any]) -> None:
        chat["max_model_len"] = 1024

    clone.edit_dev(longer)
    updating = subprocess.Popen(
        [".venv/bin/tickover", "up", "-s", "dev", "--yes"],
        cwd=clone.root,
        env=clone.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    client, model = clone.client()
    answered = 0
    with updating:
        while updating.poll() is None:  # the service answers throughout
            client.chat.completions.create(
                model=model, max_tokens=2, messages=[{"role": "user", "content": "Hi"}]
            )
            answered += 1
        said = updating.stdout.read() if updating.stdout else ""
    assert updating.returncode == 0, said
    assert answered > 0
    new = eventually(
        "only the new version",
        lambda: (
            [i for i in clone.instances() if i["version_id"] != old["version_id"]]
            if len(clone.instances()) == 1
            else None
        ),
    )[0]
    assert int(new["version_id"]) > int(old["version_id"])

    clone.dev_yaml.write_text(original)
    clone.edit_dev(lambda chat: chat.update(version=old["version_id"]))
    clone.tickover("up", "-s", "dev", "--yes")
    eventually(
        "the old version again", lambda: [i["version_id"] for i in clone.instances()] == [old["version_id"]]
    )
    clone.dev_yaml.write_text(original)
    clone.tickover("up", "-s", "dev", "--yes")


def test_a_command_that_exits_at_once_is_named_and_the_old_version_serves(clone: Clone) -> None:
    original = clone.dev_yaml.read_text()
    clone.edit_dev(
        lambda chat: chat.update(command=["python3", "-c", "import sys; sys.exit('no such weights')"])
    )
    failed = clone.run(".venv/bin/tickover", "up", "-s", "dev", "--yes", expect=4)
    assert "no such weights" in failed.stdout + failed.stderr
    assert "Traceback" not in failed.stderr
    client, model = clone.client()
    assert client.chat.completions.create(
        model=model, max_tokens=2, messages=[{"role": "user", "content": "Hi"}]
    )
    clone.dev_yaml.write_text(original)
    clone.tickover("up", "-s", "dev", "--yes")


def test_host_killed_is_followed_by_one_that_adopts(clone: Clone) -> None:
    (before,) = clone.instances()
    status = clone.json("host", "status")
    os.kill(status["pid"], 9)
    failed = clone.run(".venv/bin/tickover", "ps", expect=1)
    assert "tickover host start" in failed.stderr
    clone.tickover("host", "start")
    (after,) = eventually("adopted", clone.instances)
    assert (after["instance_id"], after["pid"]) == (before["instance_id"], before["pid"])
    client, model = clone.client()
    assert client.chat.completions.create(
        model=model, max_tokens=2, messages=[{"role": "user", "content": "Hi"}]
    )


def test_host_killed_in_the_middle_of_an_up(clone: Clone) -> None:
    original = clone.dev_yaml.read_text()
    (before,) = clone.instances()
    clone.edit_dev(lambda chat: chat.update(command=["python3", "-c", "import time; time.sleep(600)"]))
    updating = subprocess.Popen(
        [".venv/bin/tickover", "up", "-s", "dev", "--yes"],
        cwd=clone.root,
        env=clone.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    eventually("a new instance starts", lambda: [i for i in clone.instances() if i["state"] == "starting"])
    os.kill(clone.json("host", "status")["pid"], 9)
    said, _ = updating.communicate(timeout=120)
    assert updating.returncode == 4, said
    assert "tickover host start" in said
    clone.dev_yaml.write_text(original)
    clone.tickover("host", "start")
    clone.tickover("up", "-s", "dev", "--yes")
    (after,) = eventually("one instance", lambda: clone.instances() if len(clone.instances()) == 1 else None)
    assert int(after["version_id"]) > int(before["version_id"])
    client, model = clone.client()
    assert client.chat.completions.create(
        model=model, max_tokens=2, messages=[{"role": "user", "content": "Hi"}]
    )
    bill = clone.json("bill")
    assert float(bill["starting"]) < 600, "the intervals of the killed host are closed"


def test_export_is_pulumis_deployment(clone: Clone) -> None:
    exported = json.loads(clone.tickover("stack", "export", "-s", "dev"))
    assert exported["version"] == 3
    types = {r["type"] for r in exported["deployment"]["resources"]}
    assert {"pulumi:pulumi:Stack", "pulumi:providers:tickover", "tickover:fc:Function"} <= types


@pytest.mark.parametrize("stack", ["dev", "staging", "prod"])
def test_preview_of_every_stack_without_credentials(clone: Clone, stack: str) -> None:
    clone.tickover("preview", "-s", stack)


def test_make_down_leaves_nothing(clone: Clone) -> None:
    url = clone.json("stack", "output", "-s", "dev")["urls"]["chat"]
    clone.run("make", "down")
    assert processes_of(clone.root) == []
    assert str(clone.root) not in Path("/proc/mounts").read_text()
    with pytest.raises(openai.APIConnectionError):
        openai.OpenAI(base_url=url + "/v1", api_key="unused", max_retries=0).models.list()
