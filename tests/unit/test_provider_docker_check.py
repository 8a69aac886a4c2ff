"""What the docker provider says about inputs before any engine is asked."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.docker_provider import Object, driver, urn
from tickover.engine.provider import (
    CheckRequest,
    ConfigureRequest,
    CreateRequest,
    DeleteRequest,
    DiffKind,
    DiffRequest,
    Unavailable,
)
from tickover.engine.values import UNKNOWN, Secret
from tickover.errors import TickoverError
from tickover.provider.docker import factory
from tickover.provider.docker.provider import DockerProvider

PLUGIN = "tickover plugin install resource docker VERSION"


def run(work):
    return asyncio.run(work)


def quiet(severity, where, message, *, ephemeral=False):
    raise AssertionError(message)


def failures(type_: str, **inputs) -> dict[str, str]:
    async def call():
        async with driver({}) as d:
            return await d.failures(type_, **inputs)

    return run(call())


def checked(type_: str, old: Object | None = None, **inputs):
    async def call():
        async with driver({}) as d:
            return await d.checked(type_, "it", old, **inputs)

    return run(call())


def diff(type_: str, before: dict, after: dict, outputs: dict | None = None, **options):
    async def call():
        async with driver({}) as d:
            olds = await d.checked(type_, "it", **before)
            old = Object(urn(type_), "id", olds, olds if outputs is None else outputs)
            news = await d.checked(type_, "it", old, **after)
            return await d.provider.diff(DiffRequest(old.urn, "id", olds, old.outputs, news, **options))

    return run(call())


def test_defaults_are_those_of_the_plugin_and_are_listed():
    inputs = checked("Container", image="a", ports=[{"internal": 80}])
    assert inputs.pop("name").startswith("it-")
    assert inputs == {
        "image": "a",
        "attach": False,
        "containerReadRefreshTimeoutMilliseconds": 15000,
        "logs": False,
        "mustRun": True,
        "networkMode": "bridge",
        "readOnly": False,
        "removeVolumes": True,
        "restart": "no",
        "rm": False,
        "start": True,
        "stdinOpen": False,
        "tty": False,
        "wait": False,
        "waitTimeout": 60,
        "ports": [{"internal": 80, "ip": "0.0.0.0", "protocol": "tcp", "__defaults": ["ip", "protocol"]}],
        "__defaults": [
            *("attach", "containerReadRefreshTimeoutMilliseconds", "logs", "mustRun", "name", "networkMode"),
            *(
                "readOnly",
                "removeVolumes",
                "restart",
                "rm",
                "start",
                "stdinOpen",
                "tty",
                "wait",
                "waitTimeout",
            ),
        ],
    }


def test_a_name_made_here_is_kept_by_the_next_check_and_a_given_one_is_not_touched():
    first = checked("Volume")
    old = Object(urn("Volume"), "x", {**first, "name": "it-0000000"}, {})
    assert checked("Volume", old)["name"] == "it-0000000"
    assert checked("Volume", old, name="mine")["name"] == "mine"
    given = Object(urn("Volume"), "x", {"name": "mine", "__defaults": []}, {})
    assert checked("Volume", given)["name"] == first["name"]


@pytest.mark.parametrize(
    ("type_", "inputs", "path", "words"),
    [
        ("Container", {"image": "a", "attach": True}, "attach", "Container.attach is not covered"),
        ("Container", {"image": "a", "uploads": [{"file": "/a"}]}, "uploads", "mount a volume"),
        ("Container", {"image": "a", "deviceReadBps": [{"path": "/", "rate": 1}]}, "deviceReadBps", "rates"),
        (
            "RemoteImage",
            {"name": "a", "build": {"context": "."}},
            "build",
            "RemoteImage.build is not covered",
        ),
        ("RegistryImage", {"name": "a", "build": {"context": "."}}, "build", "images are built elsewhere"),
        ("Volume", {"cluster": {"group": "g"}}, "cluster", "swarm"),
        (
            "Container",
            {"image": "a", "networksAdvanced": [{"name": "n", "gwPriority": 3}]},
            "networksAdvanced[0].gwPriority",
            "newer Docker API",
        ),
    ],
)
def test_what_is_not_covered_is_refused_by_name_with_the_way_out(type_, inputs, path, words):
    found = failures(type_, **inputs)
    assert list(found) == [path]
    assert words in found[path] and PLUGIN in found[path]


@pytest.mark.parametrize("type_", ["Image", "Service", "ServiceConfig", "Secret", "Plugin", "BuildxBuilder"])
def test_types_that_are_not_covered_are_refused_by_name(type_):
    (reason,) = failures(type_, imageName="x").values()
    assert f"docker.{type_} is not covered" in reason and PLUGIN in reason


@pytest.mark.parametrize(
    ("inputs", "path", "reason"),
    [
        ({}, "image", "Container needs image."),
        ({"image": "a", "colour": "red"}, "colour", "Container has no property colour."),
        ({"image": "a", "memory": "much"}, "memory", "memory must be a whole number."),
        ({"image": "a", "memory": -3}, "memory", "memory must be 0 or more."),
        (
            {"image": "a", "restart": "often"},
            "restart",
            "restart must be no, on-failure, always or unless-stopped.",
        ),
        ({"image": "a", "envs": "A=1"}, "envs", "envs must be a list of texts."),
        ({"image": "a", "envs": [["A"]]}, "envs[0]", "envs[0] must be true or false."),
        (
            {"image": "a", "ports": [{"external": 1}]},
            "ports[0].internal",
            "Container needs ports[0].internal.",
        ),
        ({"image": "a", "ports": ["80"]}, "ports[0]", "ports[0] must be an object."),
        (
            {"image": "a", "healthcheck": {"tests": ["CMD"], "interval": "soon"}},
            "healthcheck.interval",
            'healthcheck.interval must be a duration such as "500ms", "30s" or "1m30s".',
        ),
        ({"image": "a", "gpus": "0,1"}, "gpus", 'gpus must be "all"; name single GPUs in deviceRequests.'),
    ],
)
def test_bad_inputs_are_told_by_path(inputs, path, reason):
    found = failures("Container", **inputs)
    assert found == {path: reason.replace("true or false", "text") if path == "envs[0]" else reason}


def test_refused_inputs_that_ask_for_nothing_pass():
    assert failures("Container", image="a", attach=False, logs=False, uploads=[]) == {}


def test_texts_become_what_the_field_wants_and_markers_survive():
    inputs = checked(
        "Container",
        image=UNKNOWN,
        memory="64",
        start="true",
        labels=[{"label": "n", "value": 3}],
        envs=Secret(["A=1", UNKNOWN]),
        command=["x", Secret("y")],
    )
    assert inputs["image"] is UNKNOWN and inputs["memory"] == 64 and inputs["start"] is True
    assert inputs["labels"][0]["value"] == "3"
    assert inputs["envs"] == Secret(["A=1", UNKNOWN]) and inputs["command"] == ["x", Secret("y")]
    password = {"address": "r", "username": "u", "password": "p"}
    assert checked("RegistryImage", name="r/a", authConfig=password)["authConfig"]["password"] == Secret("p")


CHANGES = [
    ("Container", {"image": "a", "memory": 1}, {"image": "a", "memory": 2}, {"memory": DiffKind.UPDATE}),
    ("Container", {"image": "a", "memory": 1}, {"image": "a"}, {"memory": DiffKind.DELETE_REPLACE}),
    ("Container", {"image": "a"}, {"image": "b"}, {"image": DiffKind.UPDATE_REPLACE}),
    ("Container", {"image": "a"}, {"image": UNKNOWN}, {"image": DiffKind.UPDATE_REPLACE}),
    ("Container", {"image": "a"}, {"image": "a", "wait": True}, {"wait": DiffKind.UPDATE}),
    ("Container", {"image": "a", "envs": ["A=1", "B=2"]}, {"image": "a", "envs": ["B=2", "A=1"]}, {}),
    ("Container", {"image": "a", "envs": ["A=1"]}, {"image": "a"}, {"envs": DiffKind.DELETE_REPLACE}),
    ("Container", {"image": "a", "envs": [Secret("A=1")]}, {"image": "a", "envs": ["A=1"]}, {}),
    (
        "Container",
        {"image": "a", "command": ["x", "y"]},
        {"image": "a", "command": ["y", "x"]},
        {"command[0]": DiffKind.UPDATE_REPLACE, "command[1]": DiffKind.UPDATE_REPLACE},
    ),
    ("Container", {"image": "a", "hostname": "h"}, {"image": "a"}, {}),
    (
        "Container",
        {"image": "a", "networksAdvanced": [{"name": "n", "aliases": ["x", "y"]}]},
        {"image": "a", "networksAdvanced": [{"name": "n", "aliases": ["y", "x"]}]},
        {},
    ),
    ("RemoteImage", {"name": "a"}, {"name": "a", "keepLocally": True}, {"keepLocally": DiffKind.ADD}),
    ("RemoteImage", {"name": "a"}, {"name": "b"}, {"name": DiffKind.UPDATE_REPLACE}),
    (
        "RemoteImage",
        {"name": "a", "pullTriggers": ["1"]},
        {"name": "a", "pullTriggers": ["2"]},
        {"pullTriggers[0]": DiffKind.UPDATE_REPLACE},
    ),
    ("RegistryImage", {"name": "a"}, {"name": "a", "keepRemotely": True}, {"keepRemotely": DiffKind.UPDATE}),
    (
        "Tag",
        {"sourceImage": "a", "targetImage": "b"},
        {"sourceImage": "a", "targetImage": "c"},
        {"targetImage": DiffKind.UPDATE_REPLACE},
    ),
    ("Volume", {"driver": "local"}, {}, {}),
    ("Network", {"internal": False}, {"internal": True}, {"internal": DiffKind.UPDATE_REPLACE}),
]


@pytest.mark.parametrize(("type_", "before", "after", "expected"), CHANGES)
def test_what_changes_and_what_replaces(type_, before, after, expected):
    found = diff(type_, before, after)
    assert {path: change.kind for path, change in found.detailed.items()} == expected
    assert found.changes is bool(expected)
    assert bool(found.replaces) is any(kind.is_replace for kind in expected.values())


def test_a_container_goes_before_its_successor_and_a_volume_only_if_the_name_is_given():
    assert diff("Container", {"image": "a"}, {"image": "b"}).delete_before_replace
    assert not diff("Volume", {"driver": "a"}, {"driver": "b"}).delete_before_replace
    assert diff("Volume", {"driver": "a", "name": "n"}, {"driver": "b", "name": "n"}).delete_before_replace
    assert not diff(
        "Volume", {"driver": "a", "name": "n"}, {"driver": "b", "name": "m"}
    ).delete_before_replace


def test_ignored_changes_are_no_changes_and_a_stopped_container_is_made_anew():
    same = diff("Container", {"image": "a"}, {"image": "b"}, ignore_changes=("image",))
    assert same.changes is False and same.replaces == ()
    before, after = {"image": "a", "mustRun": False}, {"image": "a"}
    assert diff("Container", before, after).replaces == ()
    assert diff("Container", before, after, {"exitCode": 3}).replaces == ("mustRun",)


def test_states_that_lack_the_defaults_differ_in_nothing():
    async def call():
        async with driver({}) as d:
            news = await d.checked("Container", image="a", name="n", ports=[{"internal": 1}])
            olds = {"image": "a", "name": "n", "ports": [{"internal": 1}]}
            request = DiffRequest(urn("Container"), "id", olds, olds, news)
            return await d.provider.diff(request)

    assert run(call()).changes is False


def test_a_preview_says_what_is_not_known_and_needs_no_engine():
    async def call(type_, **inputs):
        async with driver({"host": "unix:///nowhere.sock"}) as d:
            news = await d.checked(type_, **inputs)
            return (await d.provider.create(CreateRequest(urn(type_), news, preview=True))).outputs

    image = run(call("RemoteImage", name="a"))
    assert image == {"name": "a", "imageId": UNKNOWN, "repoDigest": UNKNOWN}
    web = run(call("Container", image="a", ports=[{"internal": 1}]))
    assert web["image"] is UNKNOWN and web["ports"] is UNKNOWN and web["networkDatas"] is UNKNOWN
    known = run(call("Container", image="sha256:1", ports=[{"internal": 1, "external": 2}]))
    assert known["image"] == "sha256:1" and known["ports"][0]["external"] == 2
    assert "__defaults" not in known


def test_unknown_config_waits_and_an_unknown_type_is_refused_by_name():
    async def call():
        provider = factory(quiet)
        assert isinstance(provider, DockerProvider) and provider.supports_preview
        checked_config = await provider.check_config(CheckRequest("", None, {"host": UNKNOWN}))
        assert checked_config.failures == ()
        await provider.configure(ConfigureRequest(checked_config.inputs))
        with pytest.raises(Unavailable):
            await provider.delete(DeleteRequest(urn("Volume"), "v", {"name": "v"}, {}))
        with pytest.raises(TickoverError, match=r"docker\.Service is not covered"):
            await provider.delete(DeleteRequest(urn("Service"), "s", {}, {}))

    run(call())
