"""Which cgroups a host may use and what they are told, on a kernel made of files."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.support.cgroups import FakeKernel
from tickover.host.runtimes.base import ExitStatus
from tickover.host.runtimes.cgroup import (
    Limits,
    Role,
    cgroup_of,
    is_frozen,
    parse_mounts,
    spots_of,
)
from tickover.host.runtimes.cgroup_ground import OFF, host_id, survey
from tickover.host.runtimes.cgroup_keeper import CgroupKeeper
from tickover.host.runtimes.process import ProcessRuntime

OWNER = "/home/me/project/.tickover/host"
HOST = f"tickover/{host_id(OWNER)}"
ALL_V1 = ("freezer", "memory", "cpu")


def look(kernel, setting="", uid=0):
    return survey(kernel, setting, OWNER, uid)


def reasons(grounds):
    return {role.value: ground.reason for role, ground in grounds.by_role.items()}


def where(kernel, grounds):
    return {
        role.value: str(ground.home.folder.relative_to(kernel.top)) if ground.home else None
        for role, ground in grounds.by_role.items()
    }


# -- reading -----------------------------------------------------------------------------------------------


def test_a_cgroup_is_found_below_what_is_mounted_of_its_hierarchy(tmp_path):
    text = (
        "30 23 0:26 /docker/c1 /sys/fs/cgroup\\040v2 ro,nosuid master:4 shared:2 - cgroup2 cgroup rw\n"
        "31 23 0:27 /docker/c1 /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
        "32 23 0:28 / /tmp rw - tmpfs tmpfs rw\n"
    )
    unified, cpu = parse_mounts(text, tmp_path)
    assert (unified.version, unified.folder) == (2, tmp_path / "sys/fs/cgroup v2")
    assert cpu.controllers == {"cpu", "cpuacct"}
    assert unified.place("/docker/c1/a/b") == unified.folder / "a/b"
    assert unified.place("/docker/c1") == unified.folder
    assert [unified.place(path) for path in ("/docker/c12", "/elsewhere", "/../..")] == [None, None, None]


def test_a_process_is_found_in_every_hierarchy_but_the_named_ones(tmp_path):
    kernel = FakeKernel(tmp_path, v1=ALL_V1, v2=())
    kernel.put(7, "/a")
    found = {spot.folder.relative_to(kernel.top).as_posix() for spot in spots_of(7, kernel)}
    assert found == {"unified/a", "freezer/a", "memory/a", "cpu/a"}
    with pytest.raises(OSError, match="proc/8"):
        spots_of(8, kernel)


# -- where a host may make cgroups -------------------------------------------------------------------------


def test_v2_is_used_for_all_where_it_has_the_controllers(tmp_path):
    kernel = FakeKernel(tmp_path, v2=("cpu", "memory", "pids"))
    grounds = look(kernel)
    assert where(kernel, grounds) == dict.fromkeys(("tree", "memory", "cpu"), f"unified/{HOST}")
    assert grounds.describe() == (
        "instances are frozen and ended by cgroup v2; cpu is enforced; memorySize is enforced"
    )


def test_v1_is_used_where_there_is_nothing_else(tmp_path):
    kernel = FakeKernel(tmp_path, v1=ALL_V1)
    assert where(kernel, look(kernel)) == {
        "tree": f"freezer/{HOST}",
        "memory": f"memory/{HOST}",
        "cpu": f"cpu/{HOST}",
    }


def test_on_a_mixed_machine_each_use_takes_the_hierarchy_that_can(tmp_path):
    kernel = FakeKernel(tmp_path, v1=("freezer", "cpu"), v2=("hugetlb",))
    grounds = look(kernel)
    assert where(kernel, grounds) == {"tree": f"unified/{HOST}", "memory": None, "cpu": f"cpu/{HOST}"}
    assert "has no memory controller" in reasons(grounds)["memory"]
    assert "memorySize is not enforced (" in grounds.describe()


@pytest.mark.parametrize("uid", [0, 1000])
def test_what_another_manager_has_made_is_left_alone(tmp_path, uid):
    kernel = FakeKernel(tmp_path, v1=("cpu",), v2=("memory",), own="/system.slice/other.service")
    before = sorted(tmp_path.rglob("*"))
    grounds = look(kernel, uid=uid)
    assert where(kernel, grounds) == {"tree": None, "memory": None, "cpu": None}
    assert all("is not delegated to this host" in reason for reason in reasons(grounds).values())
    assert sorted(tmp_path.rglob("*")) == before
    assert grounds.cgroup("i-1") is None


def test_what_is_delegated_or_belongs_to_this_user_is_divided(tmp_path):
    kernel = FakeKernel(tmp_path, v2=(), own="/user.slice/my.scope")
    kernel.uids[kernel.top / "unified/user.slice/my.scope"] = 1000
    assert where(kernel, look(kernel, uid=1000))["tree"] == f"unified/user.slice/my.scope/{HOST}"
    other = FakeKernel(tmp_path / "other", v2=(), own="/system.slice/tickover.service/main")
    other.delegated.add(other.top / "unified/system.slice/tickover.service")
    assert where(other, look(other, uid=1000))["tree"] == f"unified/system.slice/tickover.service/{HOST}"


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        (OFF, "TICKOVER_CGROUP is off"),
        ("tickover", "neither 'off' nor the /PATH of a cgroup: 'tickover'"),
        ("/a/../..", "neither 'off' nor the /PATH"),
    ],
)
def test_a_setting_can_refuse_and_a_wrong_one_is_told(tmp_path, setting, why):
    grounds = look(FakeKernel(tmp_path, v2=()), setting)
    assert all(why in reason for reason in reasons(grounds).values())
    reason = reasons(grounds)["tree"]
    assert grounds.describe() == (
        f"instances are frozen by SIGSTOP; cpu and memorySize are not enforced ({reason})"
    )


def test_a_named_cgroup_is_used_in_every_hierarchy_and_made_if_need_be(tmp_path):
    kernel = FakeKernel(tmp_path, v1=("cpu",), v2=("memory",), own="/init.scope")
    kernel.pass_on("/", "memory")
    assert where(kernel, look(kernel, "/mine")) == {
        "tree": f"unified/mine/{HOST}",
        "memory": f"unified/mine/{HOST}",
        "cpu": f"cpu/mine/{HOST}",
    }


def test_where_nothing_can_be_written_the_reason_is_told(tmp_path):
    kernel = FakeKernel(tmp_path, v2=("memory",))
    kernel.read_only = True
    grounds = look(kernel)
    assert where(kernel, grounds) == {"tree": None, "memory": None, "cpu": None}
    assert "Read-only file system" in reasons(grounds)["tree"]


def test_without_any_hierarchy_the_reason_is_told(tmp_path):
    kernel = FakeKernel(tmp_path)
    assert reasons(look(kernel))["tree"] == "no hierarchy with freezer is mounted"
    (tmp_path / "proc/self/cgroup").unlink()
    assert "cannot be read" in reasons(look(kernel))["tree"]


@pytest.mark.parametrize("is_delegated", [True, False])
def test_processes_are_moved_to_a_leaf_only_in_what_was_delegated(tmp_path, is_delegated):
    kernel = FakeKernel(tmp_path, v2=("cpu", "memory"), own="/x")
    kernel.pass_on("/", "cpu", "memory")
    own = kernel.top / "unified/x"
    kernel.remove(own)
    kernel.make(own)
    kernel.uids[own] = 1000
    kernel.put(71, "/x")
    kernel.put(os.getpid(), "/x")
    if is_delegated:
        kernel.delegated.add(own)
    tried = survey(kernel, "", OWNER, 1000, is_trial=True)
    assert (own / "cgroup.procs").read_text().split() == ["71", str(os.getpid())]
    grounds = look(kernel, uid=1000)
    assert reasons(tried) == reasons(grounds)
    if is_delegated:
        assert reasons(grounds) == {"tree": "", "memory": "", "cpu": ""}
        assert (own / "cgroup.procs").read_text() == ""
        assert (own / "tickover.host/cgroup.procs").read_text().split() == ["71", str(os.getpid())]
    else:
        assert reasons(grounds)["tree"] == ""
        assert "while others' processes are in it" in reasons(grounds)["memory"]
        assert (own / "cgroup.procs").read_text().split() == ["71", str(os.getpid())]


# -- one instance ------------------------------------------------------------------------------------------


def made(kernel, limits, name="i-1"):
    cgroup = look(kernel).cgroup(name)
    cgroup.make(limits)
    return cgroup


def text(cgroup, role, name):
    return (cgroup.spots[role].folder / name).read_text().strip()


def test_limits_are_told_in_the_words_of_each_version(tmp_path):
    limits = Limits(memory_mb=512, cpu=1.5)
    v2 = made(FakeKernel(tmp_path / "2", v2=("cpu", "memory")), limits)
    assert text(v2, Role.MEMORY, "memory.max") == str(512 * 1024 * 1024)
    assert text(v2, Role.MEMORY, "memory.swap.max") == "0"
    assert text(v2, Role.MEMORY, "memory.oom.group") == "1"
    assert text(v2, Role.CPU, "cpu.max") == "150000 100000"
    v1 = made(FakeKernel(tmp_path / "1", v1=ALL_V1), limits)
    assert text(v1, Role.MEMORY, "memory.limit_in_bytes").startswith(str(512 * 1024 * 1024))
    assert text(v1, Role.CPU, "cpu.cfs_quota_us") == "150000"


def test_without_a_limit_nothing_is_limited(tmp_path):
    v2 = made(FakeKernel(tmp_path / "2", v2=("cpu", "memory")), Limits())
    assert text(v2, Role.MEMORY, "memory.max") == "max" and text(v2, Role.CPU, "cpu.max") == "max 100000"
    v1 = made(FakeKernel(tmp_path / "1", v1=ALL_V1), Limits())
    assert text(v1, Role.CPU, "cpu.cfs_quota_us") == "-1"
    assert int(text(v1, Role.MEMORY, "memory.limit_in_bytes")) > 2**62


def test_the_smallest_cpu_is_what_the_kernel_takes(tmp_path):
    cgroup = made(FakeKernel(tmp_path, v2=("cpu",)), Limits(cpu=0.001))
    assert text(cgroup, Role.CPU, "cpu.max") == "1000 100000"


def test_a_limit_that_cannot_be_set_leaves_no_cgroup(tmp_path):
    kernel = FakeKernel(tmp_path, v1=ALL_V1)
    cgroup = look(kernel).cgroup("i-1")

    def refuse(path, text):
        raise OSError(22, "Invalid argument", str(path))

    kernel.write = refuse
    with pytest.raises(OSError, match="Invalid argument"):
        cgroup.make(Limits(memory_mb=512))
    assert not any(folder.exists() for folder in cgroup.folders)


@pytest.mark.parametrize("kinds", [{"v2": ()}, {"v1": ("freezer",)}], ids=["v2", "v1"])
def test_frozen_is_seen_of_the_cgroup_and_of_its_processes(tmp_path, kinds):
    kernel = FakeKernel(tmp_path, **kinds)
    cgroup = made(kernel, Limits())
    kernel.put(7, f"/{HOST}/i-1")
    assert (cgroup.is_frozen, is_frozen(7, kernel)) == (False, False)
    cgroup.freeze()
    assert (cgroup.is_frozen, is_frozen(7, kernel)) == (True, True)
    cgroup.thaw()
    assert (cgroup.is_frozen, is_frozen(7, kernel)) == (False, False)


@pytest.mark.parametrize("kinds", [{"v2": ()}, {"v1": ("freezer",)}], ids=["v2", "v1"])
def test_one_that_is_still_freezing_is_not_to_be_touched_and_not_yet_frozen(tmp_path, kinds):
    kernel = FakeKernel(tmp_path, **kinds)
    cgroup = made(kernel, Limits())
    kernel.put(7, f"/{HOST}/i-1")
    folder = cgroup.spots[Role.TREE].folder
    assert not cgroup.is_held
    if "v2" in kinds:
        (folder / "cgroup.freeze").write_text("1\n")  # the kernel has not got all of it yet
    else:
        (folder / "freezer.state").write_text("FREEZING\n")
    assert (cgroup.is_frozen, cgroup.is_held, is_frozen(7, kernel)) == (False, True, True)


def test_a_cgroup_that_vanishes_is_nobody_and_no_error(tmp_path):
    kernel = FakeKernel(tmp_path, v2=("memory",))
    cgroup = made(kernel, Limits(memory_mb=128))
    assert cgroup.remove()
    assert cgroup.pids() == [] and not cgroup.is_frozen and cgroup.outgrown() is None
    cgroup.kill()
    assert cgroup.remove()
    with pytest.raises(OSError, match="No such file"):
        cgroup.freeze()


def test_processes_of_cgroups_below_are_of_the_instance(tmp_path):
    kernel = FakeKernel(tmp_path, v2=())
    cgroup = made(kernel, Limits())
    kernel.make(cgroup.folders[0] / "own")
    kernel.put(7, f"/{HOST}/i-1")
    kernel.put(8, f"/{HOST}/i-1/own")
    assert cgroup.pids() == [7, 8]
    assert not cgroup.remove() and cgroup.folders[0].exists()


@pytest.mark.parametrize(
    ("kinds", "file", "words", "limit"),
    [
        ({"v2": ("memory",)}, "memory.events", "oom 2\noom_kill 1\n", "memory.max"),
        ({"v1": ("memory",)}, "memory.oom_control", "under_oom 0\noom_kill 1\n", "memory.limit_in_bytes"),
    ],
    ids=["v2", "v1"],
)
def test_a_kill_for_memory_is_told_with_its_limit(tmp_path, kinds, file, words, limit):
    cgroup = made(FakeKernel(tmp_path, **kinds), Limits(memory_mb=256))
    folder = cgroup.spots[Role.MEMORY].folder
    (folder / limit).write_text(f"{256 * 1024 * 1024}\n")
    assert cgroup.outgrown() is None
    (folder / file).write_text(words)
    assert cgroup.outgrown() == 256


def test_an_old_kernel_tells_only_that_memory_was_refused(tmp_path):
    cgroup = made(FakeKernel(tmp_path, v1=("memory",)), Limits(memory_mb=256))
    folder = cgroup.spots[Role.MEMORY].folder
    (folder / "memory.limit_in_bytes").write_text(f"{256 * 1024 * 1024}\n")
    (folder / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\n")
    assert cgroup.outgrown() is None
    (folder / "memory.failcnt").write_text("3\n")
    assert cgroup.outgrown() == 256


WHY = "it used more than its memorySize of 256 MB"


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (ExitStatus(signal="SIGKILL", why=WHY), f"killed: {WHY}"),
        (ExitStatus(code=1, why=WHY), f"exited with code 1, after one of its processes was killed: {WHY}"),
        (ExitStatus(signal="SIGABRT", why=WHY), "killed by SIGABRT, after one of its processes was"),
        (ExitStatus(why=WHY), "could not see, after one of its processes was killed"),
        (ExitStatus(signal="SIGKILL"), "killed by SIGKILL"),
    ],
)
def test_the_end_of_an_instance_says_what_it_was_killed_for(status, told):
    assert told in str(status)


# -- which instance has which ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kinds", "roles"),
    [
        ({"v2": ("cpu", "memory")}, {Role.TREE, Role.MEMORY, Role.CPU}),
        ({"v2": ()}, {Role.TREE}),
        ({"v1": ALL_V1}, {Role.TREE, Role.MEMORY, Role.CPU}),
        ({"v1": ("cpu",), "v2": ()}, {Role.TREE, Role.CPU}),
    ],
    ids=["v2", "v2 without controllers", "v1", "mixed"],
)
def test_a_later_host_finds_the_cgroups_by_the_process(tmp_path, kinds, roles):
    kernel = FakeKernel(tmp_path, **kinds)
    cgroup = made(kernel, Limits())
    kernel.put(7, f"/{HOST}/i-1")
    found = cgroup_of(7, kernel)
    assert found.spots == cgroup.spots and found.spots.keys() == roles


def test_a_process_in_no_cgroup_of_ours_has_none(tmp_path):
    kernel = FakeKernel(tmp_path, v2=())
    kernel.put(7, "/system.slice/ssh.service")
    assert cgroup_of(7, kernel) is None and cgroup_of(8, kernel) is None


def test_a_host_does_not_take_its_own_cgroup_for_an_instances(tmp_path):
    kernel = FakeKernel(tmp_path, v2=(), own="/tickover/h/i-outer/deeper")
    kernel.put(7, "/tickover/h/i-outer")
    assert cgroup_of(7, kernel) is None


def test_empty_cgroups_that_nobody_claims_are_collected(tmp_path):
    kernel = FakeKernel(tmp_path, v1=("cpu", "freezer"))
    keeper = CgroupKeeper(OWNER, "", kernel)
    keeper.collect([""])  # before it was opened: nothing to do
    grounds = keeper._grounds = look(kernel)
    lost, full, claimed = (grounds.cgroup(name) for name in ("i-lost", "i-full", "i-claimed"))
    for cgroup in (lost, full, claimed):
        cgroup.make(Limits())
    kernel.put(7, f"/{HOST}/i-full")
    keeper.keep("1:2:boot", claimed)

    async def scenario():
        async with keeper.making("i-entering", Limits()) as entering:
            keeper.collect(["", "1:2:boot"])
            found = [cgroup.folders[0].exists() for cgroup in (lost, entering, full, claimed)]
            assert found == [False, True, True, True]
        return entering

    entering = asyncio.run(scenario())
    keeper.forget("1:2:boot")
    keeper.collect(["1:2:boot"])  # its process is long gone
    assert [c.folders[0].exists() for c in (entering, full, claimed)] == [False, True, False]
    assert full.folders[0].exists()


def test_nothing_of_ours_is_left_of_a_host_without_instances(tmp_path):
    kernel = FakeKernel(tmp_path, v1=("cpu", "freezer"), v2=("memory",))
    keeper = CgroupKeeper(OWNER, "", kernel)

    async def scenario():
        await keeper.open()
        assert list(kernel.top.glob("*/tickover")) == []
        async with keeper.making("i-1", Limits(memory_mb=128)) as cgroup:
            await keeper.enter("i-1", cgroup, 7)
        assert cgroup.pids() == [7] and not keeper.remove(cgroup)
        kernel.move_away(7)
        assert text(cgroup, Role.MEMORY, "memory.max") == str(128 << 20)
        keeper.keep("1:2:boot", cgroup)
        assert keeper.remove(cgroup)
        assert list(kernel.top.glob("*/tickover")) == []
        with pytest.raises(ZeroDivisionError):
            async with keeper.making("i-2", Limits(memory_mb=128)) as again:
                # The controllers are passed on anew.
                assert text(again, Role.MEMORY, "memory.max") == str(128 << 20)
                raise ZeroDivisionError
        assert list(kernel.top.glob("*/tickover")) == []

    asyncio.run(scenario())


def test_a_folder_that_vanishes_under_a_start_is_made_again(tmp_path):
    kernel = FakeKernel(tmp_path, v2=())
    keeper = CgroupKeeper(OWNER, "", kernel)
    make, seen = kernel.make, []

    def vanishing(folder):
        if folder.name == "i-1" and not seen:
            seen.append(folder)
            kernel.remove(folder.parent)  # another host of this machine tidies up
        make(folder)

    kernel.make = vanishing
    cgroup = asyncio.run(keeper._make("i-1", Limits()))
    assert seen and cgroup.folders[0].exists()


def test_a_cgroup_that_cannot_be_made_is_told_and_done_without(tmp_path, capsys):
    kernel = FakeKernel(tmp_path, v2=())
    keeper = CgroupKeeper(OWNER, "", kernel)
    asyncio.run(keeper.open())
    make = kernel.make

    def full(folder):
        if folder.name == "i-1":
            raise OSError(28, "No space left on device", str(folder))
        make(folder)

    kernel.make = full
    assert asyncio.run(keeper._make("i-1", Limits())) is None
    assert "No space left on device" in capsys.readouterr().out
    kernel.make = make
    cgroup = asyncio.run(keeper._make("i-1", Limits()))
    (cgroup.folders[0] / "cgroup.procs").unlink()  # the process cannot be put there
    assert asyncio.run(keeper.enter("i-1", cgroup, 7)) is None


def test_what_a_runtime_does_not_know_yet_it_says():
    assert ProcessRuntime().describe() == "process: NAS mounts not tried yet; cgroups not tried yet"
