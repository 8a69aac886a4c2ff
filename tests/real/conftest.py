"""What every test here needs: the real Pulumi CLI."""

from __future__ import annotations

import pytest

from tests.support.real_pulumi import Workspace, cli_binary

RACED = pytest.StashKey[list[tuple[str, list[str]]]]()


def pytest_configure(config):
    config.stash[RACED] = []


@pytest.fixture
def raced(request):
    """What differed the first time and was tried again; told at the end."""
    return request.config.stash[RACED]


def pytest_terminal_summary(terminalreporter, config):
    for case, found in config.stash[RACED]:
        terminalreporter.section(f"{case} differed the first time")
        terminalreporter.write_line("\n".join(found))


@pytest.fixture(autouse=True)
def _needs_the_cli():
    if not cli_binary():
        pytest.skip("TICKOVER_PULUMI_CLI names no pulumi binary; `make test-real` builds one")


@pytest.fixture
def space(tmp_path):
    """A project named demo, with one stack folder that both engines work on."""
    return Workspace(tmp_path)
