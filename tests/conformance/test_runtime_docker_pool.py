"""A reserved pool of containers: up, idle, woken, replaced, adopted, gone."""

from __future__ import annotations

import asyncio

from tests.support.docker_engine import Engine, docker_engine
from tests.support.docker_runtime import SERVE, docker_runtime, pushed, spec
from tests.support.host_core import FAST, Declared, pool_of, run, states, until
from tickover.host.pool import ReservedPool
from tickover.host.probe import ask
from tickover.host.runtimes.docker_config import OWNER_LABEL
from tickover.host.runtimes.process import ProcessRuntime

__all__ = ["docker_engine"]


async def answer(pool: ReservedPool) -> tuple[str, bool]:
    """The instance that answers one request, and whether it was woken for it."""
    lease = await pool.acquire("chat-dev", "live")
    found = await ask(lease.host, lease.port, "GET", "/env", 5.0)
    pool.release(lease)
    assert found.status == 200 and f"TICKOVER_INSTANCE_ID={lease.instance_id}".encode() in found.body
    return lease.instance_id, lease.woke


def test_a_pool_keeps_containers_as_it_keeps_processes(docker_engine: Engine, tmp_path):
    image = asyncio.run(pushed(docker_engine, "it/pool:1"))
    function = spec(
        SERVE,
        ("/shown", "${port}"),
        image=image,
        container={"healthCheckConfig": {"httpGetUrl": "/env"}},
    )
    declared = Declared(pool_of(function, target=1))

    def new():
        docker = docker_runtime(docker_engine, tmp_path)
        runtimes = (ProcessRuntime(), docker)
        return docker, ReservedPool(declared, tmp_path / "host.db", tmp_path, {}, None, None, FAST, runtimes)

    async def scenario() -> None:
        docker, pool = new()
        await pool.start()
        await until(lambda: states(pool) == ["idle"], "an idle instance")
        first, woke = await answer(pool)
        assert woke
        (row,) = await docker._engine.labelled(OWNER_LABEL, str(tmp_path))
        await docker._engine.kill(row["Id"], "SIGKILL")
        await until(lambda: [v.instance_id for v in pool.instances()] not in ([], [first]), "another one")
        await until(lambda: states(pool) == ["idle"], "that one idle")
        second, _ = await answer(pool)
        assert second != first
        await until(lambda: states(pool) == ["idle"], "it idle again")
        await pool.stop(keep_instances=True)

        docker, pool = new()
        refs = [row["Id"] for row in await docker._engine.labelled(OWNER_LABEL, str(tmp_path))]
        await pool.start()
        assert states(pool) == ["idle"]
        assert await answer(pool) == (second, True)
        assert await docker.collect(refs) == ()
        await pool.stop(keep_instances=False)
        assert await docker._engine.labelled(OWNER_LABEL, str(tmp_path)) == []
        await docker.close()

    run(scenario())
