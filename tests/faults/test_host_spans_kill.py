"""kill -9 of the host at every statement of adding metered time up: nothing is lost, nothing counts twice."""

import os
import signal
import sqlite3
from collections import defaultdict

from tickover.host.clock import SECOND_NS
from tickover.host.db import Database
from tickover.host.ledger import Ledger, Moment
from tickover.host.model import BillingClass as B
from tickover.host.spans import KEPT_NS, QUARTER_NS, Spans

WALL = 1_888_888 * QUARTER_NS
LATER = WALL + KEPT_NS + 2 * QUARTER_NS
END = Moment(40 * SECOND_NS, WALL + 40 * SECOND_NS)


def step_in_a_process(path, statements):
    """One step in a process that dies before the statement after so many; its exit code."""
    child = os.fork()
    if child == 0:
        left = [statements]

        def trace(_):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        code = 1
        try:
            database = Database(path)
            database._connection.set_trace_callback(trace)
            Spans(database).step(LATER)
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def ledger_on(path):
    database = Database(path)
    return database, Ledger(database, "boot-1", Moment(0, WALL))


def sums(path):
    database, ledger = ledger_on(path)
    found = defaultdict(int)
    for piece in ledger.usage(WALL, WALL + QUARTER_NS, END):
        found[piece.instance_id, piece.billing_class] += piece.duration_ns
    database.close()
    return found


def test_killed_at_every_statement_the_sums_stay(tmp_path):
    path = tmp_path / "host.db"
    database, ledger = ledger_on(path)
    ledger.enter("i-1", B.STARTING, 0)
    for at in (1, 2, 3, 4, 5 * SECOND_NS, 9 * SECOND_NS):  # the first four within one write and second
        ledger.enter("i-1", B.BUSY, 2 * at)
        ledger.enter("i-1", B.IDLE, 2 * at + 1)
    ledger.enter("i-1", None, END.mono_ns)
    ledger.flush(END.mono_ns)
    database.close()
    before, deaths = sums(path), 0
    assert sum(before.values()) == END.mono_ns
    while True:
        code = step_in_a_process(path, deaths)
        assert sums(path) == before, deaths
        if code == 0:
            break
        assert code == -signal.SIGKILL
        deaths += 1
    assert deaths >= 8  # two reads, BEGIN, an insert, the mark, two deletes, COMMIT
    with sqlite3.connect(path) as rows:
        ((intervals,),) = rows.execute("SELECT count(*) FROM interval").fetchall()
        grains = rows.execute("SELECT grain_ns, count(*) FROM span GROUP BY grain_ns").fetchall()
    rows.close()
    assert (intervals, grains) == (0, [(QUARTER_NS, 3)])
