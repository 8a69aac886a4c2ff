"""What every test here needs: the real Pulumi CLI."""

from __future__ import annotations

import pytest

from tests.support.real_pulumi import Workspace, cli_binary


@pytest.fixture(autouse=True)
def _needs_the_cli():
    if not cli_binary():
        pytest.skip("TICKOVER_PULUMI_CLI names no pulumi binary; `make test-real` builds one")


@pytest.fixture
def space(tmp_path):
    """A project named demo, with one stack folder that both engines work on."""
    return Workspace(tmp_path)
