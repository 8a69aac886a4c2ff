"""How a program ends, and what it may do to the process that it shares with the engine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from textwrap import dedent

import pytest

from tests.support.instant_monitor import InstantMonitor, run_text
from tickover.errors import Exit

# --- told to stop -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "waits",
    [
        "import asyncio\nasync def main():\n    await asyncio.sleep(10**6)\npulumi.run(main)\n",
        "import time\nwhile True:\n    time.sleep(0.05)\n",
        "import asyncio\npulumi.Output.from_input(asyncio.sleep(10**6))\n",
        "while True:\n    pass\n",
        "import time\nwhile True:\n    try:\n        time.sleep(0.05)\n    except Exception:\n        pass\n",
    ],
)
def test_a_program_that_waits_ends_when_it_is_told_to(tmp_path, waits):
    ran = run_text(tmp_path, 'print("here")\n' + waits, stop_when=lambda lines: True)
    assert ran.lines == ["here"]
    assert ran.error is not None
    assert (ran.error.code, ran.error.exit_code) == ("program-stopped", Exit.CANCELLED)


def test_a_program_that_is_stopped_cleans_up_and_leaves_the_process_as_it_was(tmp_path):
    before = (os.getcwd(), list(sys.path), sys.stdout, threading.Thread.start, os._exit)
    ran = run_text(
        tmp_path,
        """
        import time
        print("here")
        try:
            while True:
                time.sleep(0.05)
        finally:
            print("cleaned up")
        """,
        stop_when=lambda lines: True,
    )
    assert ran.lines == ["here", "cleaned up"]
    assert (os.getcwd(), list(sys.path), sys.stdout, threading.Thread.start, os._exit) == before


def test_a_call_that_was_begun_is_answered_before_a_stopped_program_ends(tmp_path):
    monitor, answered, told = InstantMonitor(), [], threading.Event()
    monitor.before["slow"] = lambda: (told.wait(0.3), answered.append(True))
    ran = run_text(
        tmp_path,
        """
        import asyncio
        async def main():
            Thing("slow")
            await asyncio.sleep(0)
            await asyncio.sleep(0.05)
            print("begun")
            await asyncio.sleep(10**6)
        pulumi.run(main)
        """,
        monitor=monitor,
        stop_when=lambda lines: True,
    )
    assert ran.error is not None
    assert answered == [True]


def test_a_program_that_cannot_be_stopped_is_named_and_left_behind(tmp_path):
    program = """
    import time
    print("here")
    time.sleep(20)
    """
    run = dedent(
        f"""
        from pathlib import Path
        from tests.support.instant_monitor import run_text
        ran = run_text(Path({str(tmp_path)!r}), {program!r}, stop_when=lambda lines: True)
        print(ran.error)
        """
    )
    # In a process of its own: the thread left behind is a daemon, and must not keep it alive.
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, timeout=15, check=True)
    assert "The program does not end" in done.stdout
    assert "__main__.py" in done.stdout
    assert "time.sleep(20)" in done.stdout


def test_a_hanging_worker_thread_does_not_keep_the_process_alive(tmp_path):
    program = """
    import asyncio, time
    async def main():
        asyncio.get_running_loop().run_in_executor(None, time.sleep, 20)
        await asyncio.sleep(0.05)
        raise ValueError("enough")
    pulumi.run(main)
    """
    run = dedent(
        f"""
        from pathlib import Path
        from tests.support.instant_monitor import run_text
        print(run_text(Path({str(tmp_path)!r}), {program!r}).error)
        """
    )
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, timeout=15, check=True)
    assert "ValueError: enough" in done.stdout


# --- exits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["", "0", "None", "False"])
def test_sys_exit_without_an_error_is_an_ordinary_end(tmp_path, code):
    ran = run_text(tmp_path, f"import sys\nThing('a')\nsys.exit({code})\nThing('b')")
    assert ran.error is None
    assert ran.monitor.names == ["a"]


ASYNCIO_RUN = """
import asyncio
main = asyncio.sleep(0)
try:
    asyncio.run(main)
finally:
    main.close()
"""


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ("import sys\nsys.exit(3)", "sys.exit(3)"),
        ("import sys\nsys.exit('it is over')", "sys.exit('it is over')"),
        ("import os\nos._exit(3)", "os._exit(3)"),
        ("import os\nos._exit(0)", "os._exit(0)"),
        ("import sys\npulumi.Output.from_input(1).apply(lambda _: sys.exit(4))", "sys.exit(4)"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        (ASYNCIO_RUN, "asyncio.run() cannot be called"),
    ],
)
def test_other_ends_are_failures_that_say_which(tmp_path, ends, said):
    ran = run_text(tmp_path, ends)
    assert ran.error is not None
    assert (ran.error.code, ran.error.exit_code) == ("program-failed", Exit.ERROR)
    assert said in ran.error.detail


def test_a_forked_child_may_end_as_it_likes(tmp_path):
    ran = run_text(
        tmp_path,
        """
        import os
        pid = os.fork()
        if not pid:
            os._exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """,
    )
    assert ran.error is None
    assert ran.lines == ["7"]


# --- output -----------------------------------------------------------------------------------------


def test_both_streams_and_the_programs_threads_are_heard(tmp_path, capsys):
    ran = run_text(
        tmp_path,
        """
        import sys, threading
        print("out")
        print("err", file=sys.stderr)
        sys.stdout.buffer.write(b"bytes\\n")
        def inner():
            print("of a thread")
            last = threading.Thread(target=print, args=("of its thread",))
            last.start(); last.join()
        thread = threading.Thread(target=inner)
        thread.start(); thread.join()
        sys.stdout.write("no end")
        """,
    )
    assert ran.lines == ["out", "err", "bytes", "of a thread", "of its thread", "no end"]
    assert capsys.readouterr() == ("", "")


def test_commands_that_a_program_runs_are_heard_and_read_nothing(tmp_path, capfd):
    ran = run_text(
        tmp_path,
        """
        import asyncio, os, subprocess, sys
        subprocess.run(["sh", "-c", "echo out; echo err >&2"], check=True)
        assert subprocess.run(["echo", "kept"], capture_output=True).stdout == b"kept\\n"
        assert os.system("echo by system; exit 3") == 3 << 8
        assert subprocess.run(["cat"], check=True).returncode == 0
        try:
            input()
        except EOFError:
            print("no input")
        async def main():
            child = await asyncio.create_subprocess_exec("echo", "of asyncio")
            await child.wait()
        pulumi.run(main)
        """,
    )
    assert ran.error is None, ran.error
    assert sorted(ran.lines) == ["by system", "err", "no input", "of asyncio", "out"]
    assert capfd.readouterr() == ("", "")


def test_a_command_that_outlives_its_program_is_not_waited_for(tmp_path):
    ran = run_text(
        tmp_path,
        """
        import subprocess
        subprocess.run(["sh", "-c", "sleep 20 & echo $!"], check=True)
        """,
    )
    assert ran.error is None
    os.kill(int(ran.lines[0]), signal.SIGKILL)  # it was still there


FLOOD = """
import asyncio, resource, sys
from pathlib import Path
from tests.support.instant_monitor import InstantMonitor, LogKeeper, PRELUDE
from tickover.engine.program import ProgramRun, run_program
root = Path(sys.argv[1])
(root / "__main__.py").write_text(PRELUDE + sys.argv[2])
heard = 0

async def go():
    loop = asyncio.get_running_loop()
    def count(line):
        global heard
        heard += len(line)
    run = ProgramRun(root, root, "demo", "dev", {}, (), 16, False)
    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    before = peak()
    await run_program(run, InstantMonitor(), LogKeeper(), lambda line: loop.call_soon_threadsafe(count, line))
    print(heard >> 20, peak() - before)

asyncio.run(go())
"""


@pytest.mark.parametrize(
    "floods",
    [
        "for _ in range(3000):\n    print('x' * 99_999)",
        "import sys\nfor _ in range(300):\n    sys.stderr.write('x' * 1_000_000)",
    ],
)
def test_three_hundred_megabytes_of_output_take_little_memory(tmp_path, floods):
    done = subprocess.run(
        [sys.executable, "-c", FLOOD, str(tmp_path), floods],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    megabytes, more = map(int, done.stdout.split())
    assert megabytes == 286
    assert more < 60
