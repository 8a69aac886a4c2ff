"""A NAS that does not answer: the host goes on, says what is wrong, and uses the NAS once it is back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests
from alibabacloud_fc20230330 import models as fc
from Tea.exceptions import TeaException

from tests.conformance.test_host_api_whole_host import current, declare, host, until
from tests.support.host_edge_server import Served
from tests.support.hung_folder import cannot, hung
from tickover.host.looks import LOOK_SECONDS

__all__ = ["host"]

LATE = "late-dev"


def with_models(name: str) -> fc.CreateFunctionInput:
    """A server that shows its models."""
    mount = fc.NASMountConfig(server_addr="local:/models", mount_dir="/mnt/models")
    container = fc.CustomContainerConfig(
        image="process://local",
        entrypoint=["python3", "-m", "http.server", "${port}", "--bind", "127.0.0.1"],
        command=["--directory", "/mnt/models"],
    )
    return fc.CreateFunctionInput(
        function_name=name,
        runtime="custom-container",
        handler="not-used",
        cpu=1,
        memory_size=1024,
        disk_size=512,
        custom_container_config=container,
        nas_config=fc.NASConfig(mount_points=[mount], user_id=0, group_id=0),
    )


def reserve(host: Served, target: int) -> None:
    body = fc.PutProvisionConfigInput(
        default_target=target, always_allocate_cpu=False, always_allocate_gpu=False
    )
    host.client().put_provision_config(LATE, fc.PutProvisionConfigRequest(qualifier="LATEST", body=body))


def status(host: Served) -> tuple[int, str]:
    request = fc.GetProvisionConfigRequest(qualifier="LATEST")
    body = host.client().get_provision_config(LATE, request).body
    return int(body.current or 0), str(body.current_error or "")


@contextmanager
def asked(host: Served) -> Iterator[list[float]]:
    """Another function is asked all the time: how long each answer took, seconds."""
    took: list[float] = []
    is_over = threading.Event()

    def ask() -> None:
        with requests.Session() as session:
            session.trust_env = False
            while not is_over.wait(0.02):
                began = time.monotonic()
                assert session.get(f"{host.url}/fn/echo-dev.live/", timeout=30).status_code == 200
                took.append(time.monotonic() - began)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield took
    finally:
        is_over.set()
        thread.join()


@pytest.mark.skipif(bool(cannot()), reason=cannot())
@pytest.mark.timeout(120)
def test_a_nas_that_hangs_delays_nobody_else_and_is_told(host: Served) -> None:
    models = host.home / "nas/models"
    models.mkdir(parents=True)
    declare(host.client(), "x")
    until(lambda: current(host.client()) == 1)
    host.client().create_function(fc.CreateFunctionRequest(body=with_models(LATE)))
    with hung(models), asked(host) as took:
        with pytest.raises(
            TeaException, match=r"InvalidArgument.*NAS local:/models has not answered for 5 s"
        ):
            host.client().create_function(fc.CreateFunctionRequest(body=with_models("new-dev")))
        reserve(host, 1)
        until(lambda: "NAS local:/models has not answered for 5 s" in status(host)[1])
        assert status(host)[0] == 0
        assert len(took) > 20 and max(took) < LOOK_SECONDS / 2
    until(lambda: status(host)[0] == 1, 60.0)
