"""This project's own dev stack: `pulumi` deploys it, `tickover` changes it, `pulumi` destroys it.

A clone of the tree with the packages of the environment that runs the tests; the provider is the plugin that
Pulumi.yaml names, the state folder the one that it names too. Real parts: host, model, policy pack, CLI.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.support.real_pulumi import OURS, REAL, ROOT, Workspace

POLICIES = ("--policy-pack", "policies", "--policy-pack-config", "policies/config/dev.json")


class Checkout(Workspace):
    """The working tree's files, at another path; env: what else the commands see."""

    @property
    def root(self) -> Path:
        return self.folder / "checkout"

    def write_project(self) -> None:
        """Pulumi.yaml is the tree's own; so are its folders, and the state folder is the one it names."""
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        for name in listed.stdout.splitlines():
            if (ROOT / name).is_file():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.root / name)
        (self.root / ".venv").symlink_to(Path(sys.prefix))
        (self.root / ".tickover/state").mkdir(parents=True)

    def environment(self) -> dict[str, str]:
        inherited = Workspace.environment(self)
        for name in ("PULUMI_BACKEND_URL", "PYTHONPATH", "TESTBED_WORLD"):
            del inherited[name]
        proxies = {
            name: os.environ[name] for name in os.environ if name.startswith(("SSL_", "REQUESTS_", "PIP_"))
        }
        return proxies | inherited


@pytest.fixture
def checkout(tmp_path):
    made = Checkout(tmp_path)
    made.ok(OURS, "model", "pull", "smollm2", timeout=280)
    made.ok(OURS, "host", "start", "--port", "0")
    try:
        yield made
    finally:
        if made.run(REAL, "stack", "-s", "dev").code == 0:
            made.run(REAL, "destroy", "-s", "dev", "--yes", "--skip-preview")
        made.ok(OURS, "host", "stop")


def models_at(url: str) -> dict:
    """What the service itself answers."""
    with urllib.request.urlopen(f"{url.rstrip('/')}/v1/models", timeout=60) as answer:
        return json.load(answer)


@pytest.mark.timeout(420)
def test_pulumi_up_tickover_up_pulumi_preview_pulumi_destroy(checkout):
    checkout.init(REAL)
    made = checkout.operate(REAL, "up", *POLICIES)
    assert "12 created" in made.said
    url = json.loads(checkout.ok(OURS, "stack", "output", "-s", "dev", "--json").out)["urls"]["chat"]
    assert models_at(url)["data"]

    checkout.operate(OURS, "preview", "--expect-no-changes", *POLICIES)
    checkout.ok(OURS, "config", "set", "-s", "dev", "--path", "tickover:services.chat.max_model_len", "1024")
    checkout.fails(REAL, "preview", "-s", "dev", "--expect-no-changes")
    checkout.operate(OURS, "up", *POLICIES)
    exported = checkout.export(REAL)["deployment"]
    (function,) = (one for one in exported["resources"] if one["type"] == "tickover:fc:Function")
    assert "1024" in json.dumps(function["inputs"])
    assert not exported.get("pending_operations")
    assert models_at(url)["data"]

    checkout.operate(REAL, "preview", "--expect-no-changes", *POLICIES)
    checkout.operate(REAL, "refresh", "--expect-no-changes")
    checkout.operate(REAL, "destroy")
    assert json.loads(checkout.ok(OURS, "ps", "--json").out)["instances"] == []
    assert not checkout.export(OURS)["deployment"].get("resources")


def test_a_policy_violation_stops_pulumi_and_tickover_alike(checkout):
    checkout.init(REAL)
    strict = checkout.folder / "strict.json"
    strict.write_text(json.dumps({"reserved-pool-idle-billing": "mandatory"}))
    checkout.ok(OURS, "config", "set", "-s", "dev", "--path", "tickover:services.chat.pool.idle", "false")
    pack = ("--policy-pack", "policies", "--policy-pack-config", str(strict))
    for engine in (REAL, OURS):
        refused = checkout.operate(engine, "preview", *pack, check=False)
        assert refused.code != 0, refused.told()
        assert "reserved-pool-idle-billing" in refused.said
    refused = checkout.operate(OURS, "up", *pack, check=False)
    assert refused.code != 0, refused.told()
