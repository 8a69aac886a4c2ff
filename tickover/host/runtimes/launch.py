"""The first code of an instance's process: waits for the word, arranges the mounts, becomes the server.

Owns: what happens between the birth of the process and its exec. Promises: does nothing before the whole
plan has arrived on standard input, and ends if it never does, so a host killed in between leaves nothing;
mounts are read-only and seen by this process and its children only. Never: imports anything but the standard
library (it is run by path, isolated, so that it starts in a few milliseconds).
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import stat
import sys
from typing import NoReturn

CANNOT_PREPARE = 126  # exit codes as a shell's
CANNOT_RUN = 127
MAX_SIBLINGS = 512
MAX_OPEN_FILES = 1 << 20  # a hard limit may be a billion, and there are programs that try each number

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_SLAVE = 32, 4096, 16384, 1 << 19
MS_RELATIME = 1 << 21
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
MOUNT_ATTR_RDONLY = 1
SYS_MOUNT_SETATTR = 442  # the same on every architecture
PR_SET_NO_NEW_PRIVS = 38
_KEPT = ((os.ST_NOSUID, MS_NOSUID), (os.ST_NODEV, MS_NODEV), (os.ST_NOEXEC, MS_NOEXEC))


def main() -> NoReturn:
    text = sys.stdin.buffer.read()
    if not text.endswith(b"\n"):
        os._exit(CANNOT_PREPARE)  # the host ended before it had recorded this process
    plan = json.loads(text)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    set_limits()
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if plan.get("join"):
            join(libc, plan["join"])
        if plan["mounts"]:
            Mounts(libc).arrange([(m["source"], m["target"]) for m in plan["mounts"]])
        os.chdir(plan["cwd"])
    except OSError as error:
        complain(f"cannot prepare the instance: {error}", CANNOT_PREPARE)
    try:
        os.execvpe(plan["argv"][0], plan["argv"], plan["env"])
    except OSError as error:
        complain(f"cannot run {plan['argv'][0]}: {error.strerror}", CANNOT_RUN)


def join(libc: ctypes.CDLL, pid: int) -> None:
    """See the file system as another process of this user does."""
    names = ["mnt"]
    if os.stat(f"/proc/{pid}/ns/user").st_ino != os.stat("/proc/self/ns/user").st_ino:
        names.insert(0, "user")  # its mounts belong to that one
    spaces = [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in names]
    for space in spaces:
        if libc.setns(space, 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"setns: {os.strerror(number)}")


def set_limits() -> None:
    """No core file, which would be as large as a model; as many open files as are allowed (a server with many
    connections needs them, and the usual soft limit is 1024)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def complain(text: str, code: int) -> NoReturn:
    os.write(2, f"tickover: {text}\n".encode())
    os._exit(code)


class Mounts:
    """Read-only folders in a mount namespace of this process."""

    def __init__(self, libc: ctypes.CDLL) -> None:
        self._libc = libc
        self._own: list[str] = []  # folders that this class has covered with a tmpfs

    def arrange(self, mounts: list[tuple[str, str]]) -> None:
        self._unshare()
        self._mount("none", "/", "", MS_REC | MS_SLAVE)  # nothing done here shows outside
        sources = [os.open(source, os.O_PATH | os.O_DIRECTORY) for source, _ in mounts]
        for source, (_, target) in zip(sources, mounts, strict=True):
            self._make_target(target)
            self._mount(f"/proc/self/fd/{source}", target, "", MS_BIND | MS_REC)
            self._make_read_only(target)
            os.close(source)

    def _unshare(self) -> None:
        if self._libc.unshare(CLONE_NEWNS) == 0:
            return
        uid, gid = os.geteuid(), os.getegid()
        self._check(self._libc.unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare")
        # Mapped to itself, the user keeps the name it has and has no capability left after the exec.
        for name, line in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(line)

    def _make_target(self, target: str) -> None:
        if os.path.isdir(target):
            return
        parent = nearest_parent(target)
        if not any(parent == own or parent.startswith(own + "/") for own in self._own):
            self._cover(parent)
        os.makedirs(target)

    def _cover(self, folder: str) -> None:
        """Put a tmpfs over folder in which everything that was there is there still."""
        below = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        mode = stat.S_IMODE(os.stat(folder).st_mode)
        names = os.listdir(folder)
        self._mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode:o},size=64m")
        for name in names:
            self._show(f"/proc/self/fd/{below}/{name}", os.path.join(folder, name))
        os.close(below)
        self._own.append(folder)

    def _show(self, source: str, target: str) -> None:
        mode = os.lstat(source).st_mode
        if stat.S_ISLNK(mode):
            os.symlink(os.readlink(source), target)
            return
        if stat.S_ISDIR(mode):
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
        self._mount(source, target, "", MS_BIND | MS_REC)

    def _make_read_only(self, target: str) -> None:
        attributes = (ctypes.c_uint64 * 4)(MOUNT_ATTR_RDONLY, 0, 0, 0)
        size = ctypes.sizeof(attributes)
        path = os.fsencode(target)
        if self._libc.syscall(
            SYS_MOUNT_SETATTR, AT_FDCWD, path, AT_RECURSIVE, ctypes.byref(attributes), ctypes.c_size_t(size)
        ):
            # Kernels before 5.12: the mount itself only, with the flags it may not lose.
            held = os.statvfs(target).f_flag
            kept = sum(flag for seen, flag in _KEPT if held & seen) | MS_RELATIME
            self._mount("none", target, "", MS_REMOUNT | MS_BIND | MS_RDONLY | kept)

    def _mount(self, source: str, target: str, kind: str, flags: int, data: str = "") -> None:
        words = [os.fsencode(word) for word in (source, target, kind, data)]
        done = self._libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3])
        self._check(done, f"mount on {target}")

    def _check(self, answer: int, what: str) -> None:
        if answer != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{what}: {os.strerror(number)}")


def nearest_parent(path: str) -> str:
    """The nearest folder above path that exists."""
    parent = os.path.dirname(path)
    while not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    return parent


if __name__ == "__main__":
    main()
