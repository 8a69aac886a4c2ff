"""State in a shared store: two machines, lost races, crashes, outages. The store is one in memory."""

import asyncio
import json

import pytest

from tests.support.engine_state import PROJECT, STACK, deployment, keyring, thing, urn
from tests.support.memory_store import MemoryStore
from tickover.engine import journal as journals
from tickover.engine import locks
from tickover.engine.backend import FileBackend
from tickover.engine.plan import Op
from tickover.engine.stores.locking import StoreLocks
from tickover.errors import TickoverError

STATE = ".pulumi/stacks/demo/dev.json"
JOURNAL = ".pulumi/tickover/demo/dev/journal"
RING = keyring()


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def machine(store, tmp_path):
    """A maker of back ends, each with the spool folder of a machine of that name."""
    return lambda name="a": FileBackend(tmp_path / name, store.url, store=store)


def crashed(backend, *, also_open=True):
    """An up that died: b was made, c was being made."""
    backend.save(PROJECT, STACK, deployment(thing("a")), RING)
    loaded = backend.load(PROJECT, STACK, RING)

    async def run():
        journal = backend.open_journal(PROJECT, STACK, loaded, RING)
        ticket = await journal.begin(Op.CREATE, thing("b", id=""))
        await journal.done(ticket, thing("b"))
        if also_open:
            await journal.begin(Op.CREATE, thing("c", id=""))
        journal.close()

    asyncio.run(run())


def urns(loaded):
    return {r.urn for r in loaded.deployment.resources}


def test_what_one_machine_saves_another_loads(store, machine):
    saved = machine("a").save(PROJECT, STACK, deployment(thing("a")), RING)
    assert sorted(store.objects) == [".pulumi/meta.yaml", STATE]
    assert machine("b").load(PROJECT, STACK, RING).deployment == saved
    assert [(s.project, s.name, s.resources) for s in machine("b").list_stacks()] == [(PROJECT, STACK, 3)]


@pytest.mark.parametrize("journalled", [False, True])
def test_a_state_that_somebody_wrote_meanwhile_is_not_overwritten(store, machine, journalled):
    ours, theirs = machine("a"), machine("b")
    ours.save(PROJECT, STACK, deployment(thing("a")), RING)
    loaded = ours.load(PROJECT, STACK, RING)
    journal = ours.open_journal(PROJECT, STACK, loaded, RING) if journalled else None
    theirs.load(PROJECT, STACK, RING)
    theirs.save(PROJECT, STACK, deployment(thing("theirs")), RING)
    written = store.objects[STATE]
    with pytest.raises(TickoverError, match="State changed meanwhile") as caught:
        ours.save(PROJECT, STACK, deployment(thing("ours")), RING, journal)
    if journal is not None:
        journal.close()
    assert caught.value.hint == "tickover refresh -s dev"
    assert store.objects[STATE] == written


def test_a_journal_is_not_saved_onto_a_state_read_after_it_began(store, machine):
    ours, theirs = machine("a"), machine("b")
    ours.save(PROJECT, STACK, deployment(thing("a")), RING)
    journal = ours.open_journal(PROJECT, STACK, ours.load(PROJECT, STACK, RING), RING)
    theirs.save(PROJECT, STACK, deployment(thing("theirs")), RING)
    written = store.objects[STATE]
    ours.load(PROJECT, STACK, RING)
    with pytest.raises(TickoverError, match="State changed meanwhile"):
        ours.save(PROJECT, STACK, deployment(thing("ours")), RING, journal)
    journal.close()
    assert store.objects[STATE] == written


def test_a_stack_made_twice_at_once_is_made_once(store, machine):
    ours = machine("a")
    assert not ours.load(PROJECT, STACK, RING).exists
    machine("b").create(PROJECT, STACK)
    with pytest.raises(TickoverError, match="State changed meanwhile"):
        ours.save(PROJECT, STACK, deployment(thing("a")), RING)


# --- crashes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "b"])
def test_this_machine_and_another_recover(store, machine, name):
    crashed(machine("a"))
    backend = machine(name)
    loaded = backend.load(PROJECT, STACK, RING)
    assert loaded.recovered
    assert urns(loaded) >= {urn("a"), urn("b")}
    assert [op.resource.urn for op in loaded.deployment.pending_operations] == [urn("c")]
    backend.save(PROJECT, STACK, loaded.deployment, RING)
    for other in ("a", "b"):
        again = machine(other).load(PROJECT, STACK, RING)
        assert (again.recovered, again.notices) == (False, ())
        assert again.deployment.resources == loaded.deployment.resources


def test_the_longer_journal_counts_and_the_rest_is_reported_once(store, machine):
    crashed(machine("a"))
    last = max(k for k in store.objects if k.startswith(JOURNAL))
    del store.objects[last]  # the last group never arrived
    other = machine("b")
    seen = other.load(PROJECT, STACK, RING)
    assert seen.deployment.pending_operations == ()
    assert machine("a").load(PROJECT, STACK, RING).deployment.pending_operations != ()
    other.save(PROJECT, STACK, seen.deployment, RING)
    ours = machine("a")
    back = ours.load(PROJECT, STACK, RING)
    assert not back.recovered
    assert "changed since by other means" in back.notices[0]  # c is known to this machine alone
    ours.open_journal(PROJECT, STACK, back, RING).close()
    assert machine("a").load(PROJECT, STACK, RING).notices == ()
    kept = [p for p in ours.root.rglob("*") if p.is_file() and urn("c").encode() in p.read_bytes()]
    assert len(kept) == 1


def test_a_crash_while_recovering_loses_nothing(store, machine):
    crashed(machine("a"))
    other = machine("b")
    loaded = other.load(PROJECT, STACK, RING)

    def die(key):
        if key == f"{STATE}.bak":
            raise KeyboardInterrupt

    real = store.write
    store.write = lambda key, data: (die(key), real(key, data))[1]
    with pytest.raises(KeyboardInterrupt):
        other.save(PROJECT, STACK, loaded.deployment, RING)
    store.write = real
    for name in ("b", "c", "a"):
        again = machine(name).load(PROJECT, STACK, RING)
        assert again.recovered
        assert again.deployment.resources == loaded.deployment.resources


def test_a_crash_between_the_state_and_the_clean_up_recovers_nothing_twice(store, machine):
    crashed(machine("a"), also_open=False)
    backend = machine("a")
    loaded = backend.load(PROJECT, STACK, RING)
    backend.save(PROJECT, STACK, loaded.deployment, RING)
    fresh = backend.load(PROJECT, STACK, RING)

    async def run():
        journal = backend.open_journal(PROJECT, STACK, fresh, RING)
        await journal.done(await journal.begin(Op.CREATE, thing("d", id="")), thing("d"))
        return journal

    journal = asyncio.run(run())
    lay = backend._journals(PROJECT, STACK)
    backend._journals = lambda project, stack: lay
    lay.clear = lambda: (_ for _ in ()).throw(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        backend.save(PROJECT, STACK, journal.deployment(), RING, journal)
    for name in ("a", "b"):
        again = machine(name).load(PROJECT, STACK, RING)
        assert (again.recovered, again.notices) == (False, ())
        assert urn("d") in urns(again)


@pytest.mark.parametrize(("groups", "made", "pending"), [(1, [], ["b"]), (2, ["b"], []), (3, ["b"], ["c"])])
def test_another_machine_recovers_as_far_as_the_groups_arrived(store, machine, groups, made, pending):
    crashed(machine("a"))
    keys = sorted(k for k in store.objects if k.startswith(JOURNAL))
    assert len(keys) == 3
    for key in keys[groups:]:
        del store.objects[key]
    loaded = machine("b").load(PROJECT, STACK, RING)
    assert {urn(name) for name in "bc"} & urns(loaded) == {urn(name) for name in made}
    assert [op.resource.urn for op in loaded.deployment.pending_operations] == [urn(n) for n in pending]


def test_a_gap_ends_what_another_machine_believes(store, machine):
    crashed(machine("a"))
    del store.objects[sorted(k for k in store.objects if k.startswith(JOURNAL))[1]]
    loaded = machine("b").load(PROJECT, STACK, RING)
    assert [op.resource.urn for op in loaded.deployment.pending_operations] == [urn("b")]


def test_an_outage_does_not_stop_the_work_and_what_was_missed_follows(store, machine):
    backend = machine("a")
    backend.save(PROJECT, STACK, deployment(thing("a")), RING)
    journal = backend.open_journal(PROJECT, STACK, backend.load(PROJECT, STACK, RING), RING)
    journal._copy._clock = lambda: 0.0

    async def run():
        ticket = await journal.begin(Op.CREATE, thing("b", id=""))
        store.down = True
        await journal.done(ticket, thing("b"))
        store.down = False
        sent = len([k for k in store.objects if k.startswith(JOURNAL)])
        await journal.begin(Op.CREATE, thing("c", id=""))  # within the pause
        assert len([k for k in store.objects if k.startswith(JOURNAL)]) == sent
        journal._copy._clock = lambda: 100.0
        await journal.begin(Op.CREATE, thing("d", id=""))

    asyncio.run(run())
    loaded = machine("b").load(PROJECT, STACK, RING)
    assert urn("b") in urns(loaded)
    assert {o.resource.urn for o in loaded.deployment.pending_operations} == {urn("c"), urn("d")}
    store.down = True
    with pytest.raises(TickoverError, match="cannot be reached"):
        backend.save(PROJECT, STACK, journal.deployment(), RING, journal)
    journal.close()
    store.down = False
    assert machine("a").load(PROJECT, STACK, RING).recovered


# --- locks ---------------------------------------------------------------------------------------------


def test_one_lock_object_as_the_cli_writes_it_and_a_guard(store, machine):
    with machine("a").lock(PROJECT, STACK, "up"):
        (key,) = store.list(".pulumi/locks/organization/demo/dev")
        assert json.loads(store.read(key).data)["command"] == "up"
        with pytest.raises(TickoverError) as caught:
            machine("b").lock(PROJECT, STACK, "up")
        assert caught.value.hint == "tickover cancel -s dev"
        assert len(store.list(".pulumi/locks")) == 1
    assert store.list(".pulumi/locks") == []
    with machine("b").lock(PROJECT, STACK, "up"):
        pass


def test_the_guard_holds_where_listings_lag_behind(store, machine):
    with machine("a").lock(PROJECT, STACK, "first"):
        store.lagging = set(store.list(".pulumi/locks"))
        with pytest.raises(TickoverError, match="first"):
            machine("b").lock(PROJECT, STACK, "second")
        store.lagging = set()
        assert len(store.list(".pulumi/locks")) == 1


def test_of_two_who_take_over_a_void_guard_one_gets_it(store, machine):
    machine("dead").lock(PROJECT, STACK, "dead")
    machine("b").cancel(PROJECT, STACK)
    guard = StoreLocks(store, PROJECT, STACK).guard
    real = store.replace

    def slower(key, data, etag):
        store.replace = real
        store.lagging = set(store.list(".pulumi/locks"))
        machine("fast").lock(PROJECT, STACK, "fast")
        return real(key, data, etag)

    store.replace = slower
    with pytest.raises(TickoverError, match="fast"):
        machine("slow").lock(PROJECT, STACK, "slow")
    assert json.loads(store.read(guard).data)["command"] == "fast"


def test_a_release_after_a_break_leaves_the_next_holder_alone(store, machine):
    broken = machine("a").lock(PROJECT, STACK, "broken")
    assert [h.command for h in machine("b").cancel(PROJECT, STACK)] == ["broken"]
    machine("b").lock(PROJECT, STACK, "next")
    broken.release()
    assert [h.command for h in machine("c").holders(PROJECT, STACK)] == ["next"]
    with pytest.raises(TickoverError, match="next"):
        machine("c").lock(PROJECT, STACK, "third")


def test_a_lock_whose_process_ended_is_removed_and_named(store, machine, monkeypatch):
    machine("a").lock(PROJECT, STACK, "dead")
    monkeypatch.setattr(locks, "is_stale", lambda holder, hostname: holder.command == "dead")
    with machine("b").lock(PROJECT, STACK, "up") as lock:
        assert "running `dead` has ended" in lock.notices[0]


def test_a_lock_of_the_cli_holds(store, machine):
    key = ".pulumi/locks/organization/demo/dev/0e2f.json"
    store.write(key, b'{"pid": 1, "username": "ann", "hostname": "elsewhere", "timestamp": "then"}')
    with pytest.raises(TickoverError, match="ann@elsewhere"):
        machine().lock(PROJECT, STACK, "up")


# --- the folder's journal -------------------------------------------------------------------------------


def test_a_save_keeps_a_journal_that_continues_another_state(tmp_path):
    backend = FileBackend(tmp_path)
    crashed(backend)
    path = next(tmp_path.rglob("*-journal"))
    state = tmp_path / STATE
    state.write_bytes(state.read_bytes().replace(b'"custom":true', b'"custom": true'))  # by another tool
    before = path.read_bytes()
    loaded = backend.load(PROJECT, STACK, RING)
    backend.save(PROJECT, STACK, loaded.deployment, RING)
    assert path.read_bytes() == before
    assert "changed since by other means" in backend.load(PROJECT, STACK, RING).notices[0]


def test_a_torn_line_is_cut_off(tmp_path):
    backend = FileBackend(tmp_path)
    backend.save(PROJECT, STACK, deployment(thing("a")), RING)
    journal = backend.open_journal(PROJECT, STACK, backend.load(PROJECT, STACK, RING), RING)

    class Full:
        """A file on a disk with room for ten more bytes."""

        def __init__(self, file):
            self.file, self.room = file, 10

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, view):
            if not self.room:
                raise OSError(28, "No space left on device")
            count, self.room = self.file.write(view[: self.room]), 0
            return count

    real = journal._file
    journal._file = Full(real)
    with pytest.raises(TickoverError, match="Disk is full"):
        asyncio.run(journal.begin(Op.CREATE, thing("b", id="")))
    journal._file = real
    asyncio.run(journal.begin(Op.CREATE, thing("c", id="")))
    journal.close()
    entries = journals.parse(next(tmp_path.rglob("*-journal")).read_bytes())
    assert [e.get("r", {}).get("urn") for e in entries] == [None, urn("c")]
