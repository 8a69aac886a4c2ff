"""What is declared, and the pools it asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.host_edge_fakes import FUNCTION
from tickover.errors import Exit, TickoverError
from tickover.host.registry import Missing, ObjectRegistry
from tickover.host.store import Kind, Row, Store

NOON = 1_767_268_800 * 10**9  # 2026-01-01T12:00:00Z
HOUR = 3600 * 10**9


@pytest.fixture
def registry(tmp_path: Path) -> ObjectRegistry:
    return ObjectRegistry(Store(tmp_path / "host.db"))


def function(registry: ObjectRegistry, function_id: str = "f-1", **fields: object) -> None:
    meta = {"functionId": function_id, "nextVersion": 1}
    registry.put(Row(Kind.FUNCTION, "", "chat-dev", {**FUNCTION, **fields}, meta, 1, 1))


def version(registry: ObjectRegistry, number: str, **fields: object) -> None:
    registry.put(Row(Kind.VERSION, "chat-dev", number, {**FUNCTION, **fields}, {"description": ""}, 1, 1))


def alias(registry: ObjectRegistry, number: str) -> None:
    registry.put(Row(Kind.ALIAS, "chat-dev", "live", {"versionId": number}, {}, 1, 1))


def provision(registry: ObjectRegistry, qualifier: str, **fields: object) -> None:
    registry.put(Row(Kind.PROVISION, "chat-dev", qualifier, {"defaultTarget": 1, **fields}, {}, 1, 1))


def only(registry: ObjectRegistry, now: int = NOON) -> object:
    (pool,) = registry.desired(now)
    return pool


def test_latest_changes_revision_only_when_instances_must_change(registry: ObjectRegistry) -> None:
    function(registry)
    provision(registry, "LATEST")
    first = only(registry)
    function(registry, instanceConcurrency=9, timeout=5, description="other")
    live_change = only(registry)
    assert live_change.revision == first.revision
    assert live_change.spec.instance_concurrency == 9
    function(registry, environmentVariables={"A": "1"})
    assert only(registry).revision != first.revision
    function(registry, function_id="f-2")
    assert only(registry).revision != first.revision


def test_settings_of_the_host_alone_are_read_live(registry: ObjectRegistry) -> None:
    function(registry, environmentVariables={"A": "1"})
    provision(registry, "LATEST")
    before = only(registry)
    idling = {"TICKOVER_LINGER_SECONDS": "9", "TICKOVER_IDLE_DEEPEST": "none"}
    function(registry, environmentVariables={"A": "1", **idling})
    assert only(registry).revision == before.revision
    assert only(registry).spec.environment_variables == {"A": "1", **idling}
    function(registry, environmentVariables={"A": "2", **idling})
    assert only(registry).revision != before.revision


def test_what_a_schedule_asks_for_is_told_to_those_who_wake_ahead_of_it(registry: ObjectRegistry) -> None:
    afternoon = {"name": "a", "target": 2, "scheduleExpression": "cron(0 0 15 * * *)"}
    function(registry)
    provision(registry, "LATEST", scheduledActions=[afternoon])
    assert only(registry).expected_ns == ()
    function(registry, environmentVariables={"TICKOVER_WAKE_AHEAD_SECONDS": "60"})
    first = NOON - 21 * HOUR
    for now, last in ((NOON, first), (NOON + HOUR, first), (NOON + 3 * HOUR, NOON + 3 * HOUR), (NOON, first)):
        assert only(registry, now).expected_ns == (last, last + 24 * HOUR)
    provision(
        registry, "LATEST", scheduledActions=[{**afternoon, "scheduleExpression": "cron(0 0 14 * * *)"}]
    )
    assert only(registry).expected_ns == (NOON - 22 * HOUR, NOON + 2 * HOUR)


def test_alias_gives_the_spec_of_its_version(registry: ObjectRegistry) -> None:
    function(registry)
    version(registry, "1", timeout=11)
    version(registry, "2", timeout=22)
    alias(registry, "1")
    provision(registry, "live")
    first = only(registry)
    assert (first.version_id, first.spec.timeout) == ("1", 11)
    alias(registry, "2")
    second = only(registry)
    assert (second.version_id, second.spec.timeout) == ("2", 22)
    assert second.revision != first.revision


@pytest.mark.parametrize(
    ("gpu", "cpu", "keeps_gpu", "idle"),
    [
        (False, None, None, False),
        (False, True, False, False),
        (False, False, None, True),
        (True, False, None, False),
        (True, False, True, False),
        (True, False, False, True),
        (True, None, False, False),
    ],
)
def test_idle_needs_every_device_given_up(
    registry: ObjectRegistry, gpu: bool, cpu: bool | None, keeps_gpu: bool | None, idle: bool
) -> None:
    card = {"gpuConfig": {"gpuType": "fc.gpu.ada.1", "gpuMemorySize": 49152}} if gpu else {}
    function(registry, **card)
    provision(registry, "LATEST", alwaysAllocateCPU=cpu, alwaysAllocateGPU=keeps_gpu)
    assert only(registry).idle_enabled is idle


def test_schedule_sets_target_and_next_change(registry: ObjectRegistry) -> None:
    actions = [
        {"name": "up", "target": 3, "scheduleExpression": "cron(0 0 13 * * *)"},
        {"name": "down", "target": 0, "scheduleExpression": "cron(0 0 15 * * *)"},
    ]
    function(registry)
    provision(registry, "LATEST", scheduledActions=actions)
    assert only(registry).target == 0  # yesterday's last firing holds
    assert registry.next_change_ns(NOON) == NOON + HOUR
    assert only(registry, NOON + HOUR).target == 3
    assert registry.next_change_ns(NOON + HOUR) == NOON + 3 * HOUR
    assert only(registry, NOON + 3 * HOUR).target == 0
    provision(registry, "LATEST")
    assert registry.next_change_ns(NOON + HOUR) is None
    assert only(registry, NOON + HOUR).target == 1


@pytest.mark.parametrize(
    ("qualifier", "kind"), [("live", Kind.ALIAS), ("7", Kind.VERSION), ("LATEST", Kind.FUNCTION)]
)
def test_unknown_names_say_what_is_missing(registry: ObjectRegistry, qualifier: str, kind: Kind) -> None:
    if kind is not Kind.FUNCTION:
        function(registry)
    with pytest.raises(Missing) as caught:
        registry.resolve("chat-dev", qualifier)
    assert caught.value.kind is kind


def test_everything_is_there_again_after_reopening(registry: ObjectRegistry, tmp_path: Path) -> None:
    function(registry)
    version(registry, "1")
    alias(registry, "1")
    provision(registry, "live")
    again = ObjectRegistry(Store(tmp_path / "host.db"))
    assert again.desired(NOON) == registry.desired(NOON)
    again.delete_function("chat-dev")
    assert ObjectRegistry(Store(tmp_path / "host.db")).desired(NOON) == ()


def test_full_disk_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "host.db")
    registry = ObjectRegistry(store)
    function(registry)
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(TickoverError) as caught:
        function(registry, environmentVariables={"A": "x" * 100_000})
    assert caught.value.code == "disk-full"
    assert caught.value.exit_code == Exit.RESOURCE
    assert registry.function("chat-dev").body == FUNCTION
    function(registry, timeout=5)
    assert ObjectRegistry(Store(tmp_path / "host.db")).function("chat-dev").body["timeout"] == 5


def test_broken_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "host.db"
    path.write_bytes(b"garbage " * 1000)
    with pytest.raises(TickoverError) as caught:
        Store(path)
    assert caught.value.code == "host-db-broken"
    assert path.read_bytes() == b"garbage " * 1000


def test_database_of_a_newer_host_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "host.db")
    store._db.execute("UPDATE host_meta SET value = '99' WHERE name = 'declared_schema'")
    store.close()
    with pytest.raises(TickoverError) as caught:
        Store(tmp_path / "host.db")
    assert caught.value.code == "host-db-newer"


def test_an_alias_of_two_versions_divides_its_pool(registry: ObjectRegistry) -> None:
    function(registry)
    version(registry, "1", timeout=11)
    version(registry, "2", timeout=22)
    provision(registry, "live", defaultTarget=4)
    alias(registry, "1")
    before = only(registry)
    registry.put(
        Row(
            Kind.ALIAS,
            "chat-dev",
            "live",
            {"versionId": "1", "additionalVersionWeight": {"2": 0.25}},
            {},
            1,
            1,
        )
    )
    own, canary = registry.desired(NOON)
    assert (own.version_id, own.spec.timeout, own.target, own.weight, own.is_canary) == (
        "1",
        11,
        3,
        0.75,
        False,
    )
    assert (canary.version_id, canary.spec.timeout, canary.target, canary.weight, canary.is_canary) == (
        "2",
        22,
        1,
        0.25,
        True,
    )
    assert own.revision == before.revision, "the instances that are there go on"
    alias(registry, "2")
    assert only(registry).revision == canary.revision, "a promoted canary goes on"
