"""Shared state against a real S3 server, with the real Pulumi CLI on the same bucket."""

import asyncio
import json
import os
import shutil
import subprocess
import time

import pytest

from tests.support.engine_state import PROJECT, STACK, deployment, keyring, thing, urn
from tests.support.real_pulumi import cli_binary
from tests.support.s3_server import binary, free_port, s3_server
from tickover.engine.backend import FileBackend, open_backend
from tickover.engine.history import UpdateRecord
from tickover.engine.plan import Op
from tickover.engine.project import load_project
from tickover.engine.stores import Moved
from tickover.engine.stores.opening import open_bucket
from tickover.errors import Exit, TickoverError

PHRASE = "correct horse"
RING = keyring(PHRASE)
STATE = ".pulumi/stacks/demo/dev.json"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    program, reason = binary()
    if not program:
        pytest.skip(reason)
    with s3_server(program, tmp_path_factory.mktemp("s3") / "buckets") as running:
        yield running


@pytest.fixture
def world(server, tmp_path, request):
    return World(server, tmp_path, f"b{abs(hash(request.node.name)) % 10**9}-{time.monotonic_ns() % 10**9}")


class World:
    """A bucket with a prefix, a project, and machines that differ in their data folders."""

    def __init__(self, server, folder, name):
        self.server, self.folder = server, folder
        self.url = server.url(server.bucket(name), "team/one")
        self.project = folder / "project"
        self.project.mkdir()
        (self.project / "Pulumi.yaml").write_text("name: demo\nruntime: python\n")
        self.store = open_bucket(self.url, server.env())

    def machine(self, name="a"):
        env = self.server.env() | {"PULUMI_BACKEND_URL": self.url, "XDG_DATA_HOME": str(self.folder / name)}
        return open_backend(load_project(self.project), env)

    def cli(self, *words, ok=True):
        if not cli_binary():
            pytest.skip("TICKOVER_PULUMI_CLI names no Pulumi CLI")
        env = self.server.env() | {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PULUMI_HOME": str(self.folder / "pulumi-home"),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_CONFIG_PASSPHRASE": PHRASE,
            "PULUMI_BACKEND_URL": self.url,
        }
        command = [cli_binary(), *words, "--non-interactive"]
        ran = subprocess.run(command, cwd=self.project, env=env, capture_output=True, text=True, timeout=120)
        assert (ran.returncode == 0) is ok, ran.stdout + ran.stderr
        return ran.stdout if ok else ran.stdout + ran.stderr


def crash(backend):
    """An up that saved a, made b, and died while it made c."""
    backend.save(PROJECT, STACK, deployment(thing("a")), RING)

    async def run():
        journal = backend.open_journal(PROJECT, STACK, backend.load(PROJECT, STACK, RING), RING)
        await journal.done(await journal.begin(Op.CREATE, thing("b", id="")), thing("b"))
        await journal.begin(Op.CREATE, thing("c", id=""))
        journal.close()

    asyncio.run(run())


# --- the store -------------------------------------------------------------------------------------------


def test_the_server_honours_conditions_and_so_do_we(world):
    store = world.store
    first = store.create("x", b"1")
    with pytest.raises(Moved):
        store.create("x", b"2")
    second = store.replace("x", b"3", first)
    with pytest.raises(Moved):
        store.replace("x", b"4", first)
    with pytest.raises(Moved):
        store.replace("none", b"4", first)
    assert (store.read("x").data, store.read("x").etag) == (b"3", second)


def test_the_condition_is_the_servers_not_only_ours(world, monkeypatch):
    first = world.store.create("x", b"1")
    stale = world.store.read("x")
    world.store.write("x", b"2")
    real, reads = world.store.read, []

    def late(key):
        reads.append(key)
        return stale if len(reads) == 1 else real(key)

    monkeypatch.setattr(world.store, "read", late)  # as if the other's write came after our look
    with pytest.raises(Moved):
        world.store.replace("x", b"3", first)
    assert real("x").data == b"2"


def test_list_keep_delete(world):
    store = world.store
    store.keep("x", "x.bak")
    for key in ("x", "d/1", "d/e/2"):
        store.write(key, key.encode())
    store.keep("x", "x.bak")
    assert store.list("d") == ["d/1", "d/e/2"]
    assert store.newest(("x", "none")) == "x"
    assert store.newest(("none",)) is None
    assert (store.delete("x"), store.delete("x"), store.read("x")) == (True, False, None)
    store.delete_all("d")
    assert store.list("") == ["x.bak"]


# --- stacks -----------------------------------------------------------------------------------------------


def test_a_stack_from_its_making_to_its_end(world):
    world.machine("a").create(PROJECT, STACK)
    backend = world.machine("b")
    loaded = backend.load(PROJECT, STACK, RING)
    assert (loaded.exists, loaded.deployment.resources) == (True, ())
    with backend.lock(PROJECT, STACK, "up"):
        journal = backend.open_journal(PROJECT, STACK, loaded, RING)

        async def run():
            for name in "ab":
                await journal.done(await journal.begin(Op.CREATE, thing(name, id="")), thing(name))

        asyncio.run(run())
        backend.save(PROJECT, STACK, deployment(thing("a"), thing("b")), RING, journal)
        backend.record_update(PROJECT, STACK, UpdateRecord("update", 1, 2, "succeeded", "why"))
    other = world.machine("a")
    assert [r.urn for r in other.load(PROJECT, STACK, RING).deployment.resources[-2:]] == [urn("a"), urn("b")]
    assert [(s.name, s.resources) for s in other.list_stacks()] == [(STACK, 4)]
    assert [r.message for r in other.history(PROJECT, STACK)] == ["why"]
    assert not [k for k in world.store.list(".pulumi/tickover") if "journal" in k]
    other.remove(PROJECT, STACK, force=True)
    assert not world.machine("b").exists(PROJECT, STACK)
    assert [k for k in world.store.list(".pulumi") if "guard" not in k] == [".pulumi/meta.yaml"]


def test_a_packed_state(world):
    env = world.server.env() | {"PULUMI_DIY_BACKEND_GZIP": "true"}
    backend = FileBackend(world.folder / "g", world.url, env, store=world.store)
    world.machine().save(PROJECT, STACK, deployment(thing("a")), RING)
    backend.load(PROJECT, STACK, RING)
    backend.save(PROJECT, STACK, deployment(thing("b")), RING)
    assert world.store.list(".pulumi/stacks") == [f"{STATE}.bak", f"{STATE}.gz"]
    assert world.machine().load(PROJECT, STACK, RING).deployment.resources[-1].urn == urn("b")


def test_of_two_lockers_one_gets_it(world):
    with world.machine("a").lock(PROJECT, STACK, "first"):
        with pytest.raises(TickoverError, match="first") as caught:
            world.machine("b").lock(PROJECT, STACK, "second")
        assert caught.value.hint == "tickover cancel -s dev"
    world.machine("b").lock(PROJECT, STACK, "second").release()


def test_a_state_written_meanwhile_stays(world):
    ours = world.machine("a")
    ours.save(PROJECT, STACK, deployment(thing("a")), RING)
    ours.load(PROJECT, STACK, RING)
    theirs = world.machine("b")
    theirs.load(PROJECT, STACK, RING)
    theirs.save(PROJECT, STACK, deployment(thing("theirs")), RING)
    with pytest.raises(TickoverError, match="State changed meanwhile"):
        ours.save(PROJECT, STACK, deployment(thing("ours")), RING)
    assert world.machine("c").load(PROJECT, STACK, RING).deployment.resources[-1].urn == urn("theirs")


@pytest.mark.parametrize("gone", [True, False])
def test_another_machine_recovers(world, gone):
    crash(world.machine("a"))
    if gone:
        shutil.rmtree(world.folder / "a")
    other = world.machine("b")
    loaded = other.load(PROJECT, STACK, RING)
    assert loaded.recovered
    assert [op.resource.urn for op in loaded.deployment.pending_operations] == [urn("c")]
    assert urn("b") in {r.urn for r in loaded.deployment.resources}
    other.save(PROJECT, STACK, loaded.deployment, RING)
    for name in ("a", "b"):
        again = world.machine(name).load(PROJECT, STACK, RING)
        assert (again.recovered, again.notices) == (False, ())


# --- what goes wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code", "exit_code"),
    [
        ({"bucket": "no-such-bucket"}, "bucket-missing", Exit.CONFIGURATION),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "bucket-credentials", Exit.AUTHENTICATION),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "bucket-credentials", Exit.AUTHENTICATION),
        ({"port": True}, "bucket-unreachable", Exit.ERROR),
    ],
)
def test_what_is_wrong_is_said_soon_and_with_a_way_out(world, change, code, exit_code):
    url = world.server.url(change.get("bucket") or world.url[5:].partition("/")[0])
    if "port" in change:
        url = url.replace(str(world.server.port), str(free_port()))
    env = world.server.env() | {k: v for k, v in change.items() if k.startswith("AWS")}
    env |= {"PULUMI_BACKEND_URL": url, "XDG_DATA_HOME": str(world.folder)}
    backend = open_backend(load_project(world.project), env)
    begun = time.monotonic()
    for act in (
        lambda: backend.load(PROJECT, STACK, RING),
        backend.list_stacks,
        lambda: backend.exists(PROJECT, STACK),
        lambda: backend.lock(PROJECT, STACK, "up"),
    ):
        with pytest.raises(TickoverError) as caught:
            act()
        assert (caught.value.code, caught.value.exit_code) == (code, exit_code)
        assert caught.value.hint
        assert env["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)
    assert time.monotonic() - begun < 40


# --- the CLI on the same bucket ---------------------------------------------------------------------------


def test_the_cli_reads_what_we_wrote(world):
    backend = world.machine()
    backend.create(PROJECT, STACK)
    backend.load(PROJECT, STACK, RING)
    backend.save(PROJECT, STACK, deployment(thing("a")), RING)
    backend.record_update(PROJECT, STACK, UpdateRecord("update", 1, 2, "succeeded", "why"))
    crash(backend)  # the journal's objects must not disturb it either
    (stack,) = json.loads(world.cli("stack", "ls", "--json"))
    assert (stack["name"], stack["resourceCount"]) == (STACK, 3)
    exported = json.loads(world.cli("stack", "export", "-s", STACK))
    assert exported["deployment"]["resources"][-1]["urn"] == urn("a")
    (record,) = json.loads(world.cli("stack", "history", "-s", STACK, "--json"))
    assert (record["kind"], record["message"]) == ("update", "why")


def test_we_read_what_the_cli_wrote(world):
    world.cli("stack", "init", STACK)
    backend = world.machine()
    assert backend.load(PROJECT, STACK, RING).exists
    backend.save(PROJECT, STACK, deployment(thing("a")), RING)
    file = world.folder / "exported.json"
    document = json.loads(world.cli("stack", "export", "-s", STACK))
    document["deployment"]["resources"][-1]["id"] = "theirs"
    file.write_text(json.dumps(document))
    before = world.store.read(STATE).etag
    backend.load(PROJECT, STACK, RING)
    world.cli("stack", "import", "-s", STACK, "--file", str(file))
    assert world.store.read(STATE).etag != before
    with pytest.raises(TickoverError, match="State changed meanwhile"):
        backend.save(PROJECT, STACK, deployment(thing("b")), RING)
    assert backend.load(PROJECT, STACK, RING).deployment.resources[-1].id == "theirs"


def test_locks_hold_across_the_border(world):
    backend = world.machine()
    backend.create(PROJECT, STACK)
    with backend.lock(PROJECT, STACK, "up"):
        refusal = world.cli("destroy", "-s", STACK, "--yes", "--skip-preview", ok=False)
        assert f"(pid {os.getpid()})" in refusal
        world.cli("cancel", "-s", STACK, "--yes")
        assert backend.holders(PROJECT, STACK) == ()
        world.machine("b").lock(PROJECT, STACK, "next").release()
