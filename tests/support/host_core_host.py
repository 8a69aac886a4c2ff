"""A host reduced to its pool, for tests that kill it: ``python host_core_host.py FOLDER JSON``.

JSON: {"target", "revision", "arguments", "initializer", "pre_stop", "crash_at"}, and "retires": once ready,
its pool is no longer declared.
Prints its instances as a JSON line at each change.
crash_at: "recorded" kills the process with SIGKILL in the middle of a start, when the instance has just been
recorded and its process has not been told what to run.
"""

import asyncio
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from tests.support.host_core import FAST, Declared, function, pool_of
from tickover.host.pool import ReservedPool


async def main(folder: Path, given: dict[str, object]) -> None:
    hooks = {name: given.get(name) for name in ("initializer", "pre_stop")}
    spec = function(*given.get("arguments", []), **hooks)
    declared = Declared(pool_of(spec, target=given.get("target", 1), revision=given.get("revision", "r1")))

    def tell() -> None:
        views = [{"id": v.instance_id, "pid": v.pid, "state": v.state.value} for v in pool.instances()]
        print(json.dumps(views), flush=True)
        if given.get("retires") and declared.pools and [v["state"] for v in views] == ["ready"]:
            declared.pools = ()
            pool.notify()

    settings = replace(FAST, linger_seconds=given.get("linger", FAST.linger_seconds))
    pool = ReservedPool(declared, folder / "host.db", folder, {}, on_change=tell, settings=settings)
    if given.get("crash_at") == "recorded":
        record = pool._works._record

        def die(instance: object) -> None:
            record(instance)
            os.kill(os.getpid(), signal.SIGKILL)

        pool._works._record = die
    await pool.start()
    tell()
    if given.get("hold"):
        await pool.acquire("chat-dev", "live")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), json.loads(sys.argv[2])))
