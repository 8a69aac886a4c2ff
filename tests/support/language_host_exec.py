"""Runs one Pulumi program in this process against the addresses on its command line.

Owns: the flags, and the exit code by which the language host tells what happened. Promises: does to the
program what Pulumi's own script does (settings, threads, what is logged, exit code). Never: serves.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import runpy
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor

import pulumi
import pulumi.runtime

ALREADY_TOLD = 32


def flags() -> argparse.Namespace:
    """What the language host passes."""
    parser = argparse.ArgumentParser()
    for name in ("monitor", "engine", "project", "root_directory", "stack", "pwd", "dry_run", "tracing"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--parallel", type=int)
    parser.add_argument("--organization")
    parser.add_argument("program")
    parser.add_argument("rest", nargs="*")
    return parser.parse_args()


def configure(options: argparse.Namespace) -> None:
    """Tell the SDK where it is."""
    runtime = pulumi.runtime
    runtime.set_all_config(runtime.get_config_env(), runtime.get_config_secret_keys_env())
    runtime.configure(
        runtime.Settings(
            monitor=options.monitor,
            engine=options.engine,
            project=options.project,
            stack=options.stack,
            parallel=options.parallel,
            dry_run=options.dry_run == "true",
            organization=options.organization,
            root_directory=options.root_directory,
        )
    )


def users_part(program: str) -> str:
    """The traceback of the exception being handled, from the program's first own frame on."""
    frames = traceback.extract_tb(sys.exc_info()[2])
    main = os.path.join(program, "__main__.py") if os.path.isdir(program) else program
    for index, frame in enumerate(frames):
        if os.path.abspath(frame.filename) == os.path.abspath(main):
            return traceback.format_exc(limit=index - len(frames))
    return traceback.format_exc()


def run(options: argparse.Namespace) -> int:
    """Run the program; the exit code."""
    sys.argv = [options.program, *options.rest]
    if options.pwd:
        os.chdir(options.pwd)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    pool = ThreadPoolExecutor(max_workers=max(options.parallel, 1) * 4)
    loop.set_default_executor(pool)
    # A failed run leaves futures that nobody awaits; the failure itself is told.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    program = os.path.abspath(options.program)
    try:
        loop.run_until_complete(
            pulumi.runtime.run_in_stack(lambda: runpy.run_path(options.program, run_name="__main__"))
        )
        return 0
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
        return 1
    except Exception:  # noqa: BLE001 - whatever a program raises is told to the engine, with its frames
        pulumi.log.error(f"Program failed with an unhandled exception:\n{users_part(program)}")
        return ALREADY_TOLD
    finally:
        pool.shutdown(wait=True)
        loop.close()
        with contextlib.suppress(ValueError):  # the program may have closed them
            sys.stdout.flush()
            sys.stderr.flush()


if __name__ == "__main__":
    chosen = flags()
    configure(chosen)
    sys.exit(run(chosen))
