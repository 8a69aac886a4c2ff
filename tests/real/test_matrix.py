"""Every program of tests/programs, under the real Pulumi CLI and under ours: the same comes of each step."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import matrix, matrix_case


@pytest.fixture(scope="module")
def verdicts(request, tmp_path_factory):
    """The selected cases, under way two at a time: a case mostly waits for processes."""
    folder = tmp_path_factory.mktemp("matrix")
    chosen = [item.callspec.params["case"] for item in request.session.items if item.module is request.module]
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        yield {
            name: pool.submit(lambda name=name: matrix.judge(matrix_case.load(name), folder / name))
            for name in chosen
        }
        pool.shutdown(wait=False, cancel_futures=True)


@pytest.mark.parametrize("case", matrix_case.names())
def test_both_engines_lead_to_the_same(case, verdicts, tmp_path, raced):
    """A case that differs is tried once more: a program that fails races with what it registers.

    The first difference is never lost: it stands at the end of the run.
    """
    found = _found(verdicts[case].result)
    if found:
        raced.append((case, found))
        found = _found(lambda: matrix.judge(matrix_case.load(case), tmp_path / "again"))
    assert not found, "\n".join(found)


def _found(judge):
    try:
        return judge()
    except (AssertionError, LookupError, OSError, ValueError, subprocess.SubprocessError) as error:
        return [f"{type(error).__name__}: {error}"]
