"""The metrics page of a whole host, read with Prometheus' own parser."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Mapping

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.conformance.test_host_api_whole_host import declare, host, until
from tests.support.host_edge_server import Served
from tickover.host.client import AdminClient
from tickover.host.routes import ADMIN_PREFIX

__all__ = ["host"]

POOL = {"function": "echo-dev", "qualifier": "live"}


class Page:
    """One scrape: the value of a sample by its name and labels."""

    def __init__(self, host: Served) -> None:
        answer = scrape(host, host.credentials.admin_token)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        self.text = answer.text
        self._samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }

    def value(self, name: str, labels: Mapping[str, str]) -> float:
        return self._samples.get((f"tickover_{name}", frozenset(labels.items())), 0.0)

    def moves(self, former: str, state: str) -> float:
        return self.value("transitions_total", {"from": former, "to": state})

    def instances(self, state: str) -> float:
        return self.value("instances", {**POOL, "state": state})


def scrape(host: Served, token: str | None) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        told = {"Authorization": f"Bearer {token}"} if token else {}
        return session.get(f"{host.url}{ADMIN_PREFIX}/metrics", headers=told, timeout=30)


@pytest.mark.parametrize("token", [None, "not-the-token"])
def test_the_page_needs_the_admin_token(host: Served, token: str | None) -> None:
    assert scrape(host, token).status_code == 401


def test_a_start_an_idle_a_wake_and_a_crash_are_counted(host: Served) -> None:
    admin = AdminClient(host.home)
    empty = Page(host)
    assert empty.moves("ready", "idle") == 0 and "instances{" not in empty.text
    declare(host.client(), "x")
    until(lambda: Page(host).instances("idle") == 1)
    page = Page(host)
    for former, state in (("creating", "starting"), ("starting", "warming"), ("warming", "ready")):
        assert page.moves(former, state) == 1
    assert page.moves("ready", "suspending") == page.moves("suspending", "idle") == 1
    assert page.instances("ready") == 0 and page.value("pool_target", POOL) == 1
    down = {"rung": "freeze", "direction": "down"}
    assert page.value("idle_step_seconds_count", down) == 1
    assert 0 < page.value("idle_step_seconds_sum", down) < 5

    for _ in range(20):  # to be looked at is no reason to wake up
        page = Page(host)
    assert page.instances("idle") == 1 and page.moves("idle", "waking") == 0
    assert page.value("wakes_total", {"function": "echo-dev"}) == 0

    assert admin.wake("echo-dev", "live")["pools"][0]["woke"] == 1
    until(lambda: Page(host).instances("idle") == 1)
    page = Page(host)
    assert page.moves("idle", "waking") == page.moves("waking", "ready") == 1
    assert page.value("wakes_total", {"function": "echo-dev"}) == 1
    assert page.value("wake_seconds_count", {"function": "echo-dev"}) == 1
    assert 0 < page.value("wake_seconds_sum", {"function": "echo-dev"}) < 5
    assert page.value("idle_step_seconds_count", {"rung": "freeze", "direction": "up"}) == 1

    (view,) = admin.instances()
    os.kill(int(view["pid"]), signal.SIGKILL)
    until(lambda: Page(host).value("failures_total", {"function": "echo-dev", "reason": "exit"}) == 1)
    until(lambda: Page(host).instances("idle") == 1)
    page = Page(host)
    assert page.moves("idle", "failed") == 1 and page.instances("failed") == 0
    assert page.value("requests_in_flight", POOL) == page.value("requests_waiting", POOL) == 0
    assert host.credentials.admin_token not in page.text
    assert host.credentials.access_key_secret not in page.text


def test_a_scrape_writes_nothing(host: Served) -> None:
    declare(host.client(), "x")
    until(lambda: Page(host).instances("idle") == 1)

    def written() -> int:
        with sqlite3.connect(f"file:{host.home}/host/host.db?mode=ro", uri=True) as database:
            found: int = database.execute("SELECT count(*) FROM interval").fetchone()[0]
        database.close()
        return found

    before = written()
    for _ in range(5):
        Page(host)
    assert written() == before
