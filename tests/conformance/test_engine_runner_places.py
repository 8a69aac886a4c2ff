"""What a program may change of the process it shares, and where its modules and packages come from."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.instant_monitor import run_text
from tickover.engine.program import ProgramRun, refuse_missing
from tickover.engine.programplace import virtualenv_of
from tickover.errors import ConfigError

# --- what it does to the process ----------------------------------------------------------------------


def test_what_a_program_changes_of_the_process_is_put_back(tmp_path):
    def state():
        return (
            os.getcwd(),
            list(sys.path),
            list(sys.argv),
            dict(os.environ),
            sys.excepthook,
            threading.excepthook,
            signal.getsignal(signal.SIGUSR1),
            signal.signal,
            os._exit,
            sys.getrecursionlimit(),
            list(logging.getLogger().handlers),
            logging.getLogger().level,
            sys.stdin,
            sys.stdout,
            sys.stderr,
            subprocess.Popen.__init__,
            os.system,
        )

    before = state()
    ran = run_text(
        tmp_path,
        """
        import logging, os, signal, sys, threading
        assert sys.argv == ["."]
        os.chdir("/")
        os.environ["LEFT"] = "behind"
        sys.path.append("/nowhere")
        sys.argv.append("more")
        sys.excepthook = threading.excepthook = print
        signal.signal(signal.SIGUSR1, print)
        sys.setrecursionlimit(5000)
        logging.basicConfig(level=logging.INFO, force=True)
        logging.info("logged")
        """,
    )
    assert ran.error is None
    assert ran.lines == ["INFO:root:logged"]
    assert state() == before


def test_a_main_folder_is_where_the_program_runs_and_imports(tmp_path):
    (tmp_path / "src" / "parts").mkdir(parents=True)
    (tmp_path / "src" / "helper.py").write_text("WORD = 'helped'\n")
    (tmp_path / "src" / "parts" / "__init__.py").write_text("from helper import WORD\n")
    program = "import os, parts\nprint(parts.WORD, os.path.basename(os.getcwd()))"
    for word in ("helped", "changed"):
        (tmp_path / "src" / "helper.py").write_text(f"WORD = {word!r}\n")
        assert run_text(tmp_path, program, main="src/__main__.py").lines == [f"{word} src"]
    assert "helper" not in sys.modules


def test_a_thread_that_is_left_running_does_not_keep_the_process_alive(tmp_path):
    program = "import threading, time\nthreading.Thread(target=time.sleep, args=(20,)).start()"
    run = dedent(
        f"""
        from pathlib import Path
        from tests.support.instant_monitor import run_text
        print(run_text(Path({str(tmp_path)!r}), {program!r}).error)
        """
    )
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, timeout=15, check=True)
    assert done.stdout == "None\n"


def test_a_missing_program_is_refused(tmp_path):
    def run(main: Path) -> ProgramRun:
        return ProgramRun(tmp_path, main, "demo", "dev", {}, (), 1, True)

    with pytest.raises(ConfigError, match=r"no __main__\.py"):
        refuse_missing(run(tmp_path))
    with pytest.raises(ConfigError, match="does not exist"):
        refuse_missing(run(tmp_path / "nowhere"))


# --- another virtual environment ----------------------------------------------------------------------


def _virtualenv(folder: Path, **packages: str) -> Path:
    version = f"python{sysconfig.get_python_version()}"
    target = folder / "lib" / version / "site-packages"
    for name, release in packages.items():
        (target / f"{name}-{release}.dist-info").mkdir(parents=True)
        (target / f"{name}-{release}.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}\n"
        )
        (target / f"{name}.py").write_text(f"RELEASE = {release!r}\n")
    return folder


def test_packages_of_the_named_virtual_environment_come_first(tmp_path):
    folder = _virtualenv(tmp_path / "venv", only_there="1.0")
    ran = run_text(tmp_path, "import only_there\nprint(only_there.RELEASE)", virtualenv=folder)
    assert ran.error is None
    assert ran.lines == ["1.0"]
    assert not any("venv" in p and str(tmp_path) in p for p in sys.path)


def test_what_is_loaded_already_wins_and_is_said(tmp_path):
    folder = _virtualenv(tmp_path / "venv", protobuf="1.2.3")
    (line,) = run_text(tmp_path, "pass", virtualenv=folder).lines
    assert "The virtual environment venv has protobuf 1.2.3, and the program runs with" in line


@pytest.mark.parametrize(("name", "said"), [("nowhere", "does not exist"), ("old", "python2.7")])
def test_a_virtual_environment_that_cannot_be_used_is_a_warning(tmp_path, name, said):
    (tmp_path / "old" / "lib" / "python2.7" / "site-packages").mkdir(parents=True)
    ran = run_text(tmp_path, "print('ran')", virtualenv=tmp_path / name)
    assert said in ran.lines[0]
    assert ran.lines[1] == "ran"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, None),
        ({"virtualenv": "venv"}, "venv"),
        ({"toolchain": "uv"}, ".venv"),
        ({"toolchain": "pip"}, None),
    ],
)
def test_the_project_names_its_virtual_environment(tmp_path, options, named):
    assert virtualenv_of(tmp_path, options) == (tmp_path / named if named else None)
