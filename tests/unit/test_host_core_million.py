"""Very many requests on one pool: the limit of each instance, and the order of those who wait.

A tenth of a million in the suite; TICKOVER_REQUESTS=1000000 for all of it (12 s).
"""

import asyncio
import os
import random

from tests.support.host_core import ManualClock, an_instance, function, pool_of
from tickover.host.desk import Desk
from tickover.host.instance import PoolKey, PoolSettings
from tickover.host.model import InstanceState, Lease, Refused
from tickover.host.roster import Roster
from tickover.host.states import step

KEY = PoolKey("chat-dev", "live")
REQUESTS = int(os.environ.get("TICKOVER_REQUESTS", "100000"))
LIMITS = (1, 3, 4, 8)
SPECS = {limit: function(concurrency=limit) for limit in LIMITS}


class Crowd:
    """Requests that come, wait, give up and end in random order, and what must hold of them at each step."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.roster = Roster()
        self.desk = Desk(self.roster, ManualClock(), PoolSettings(), self.happened, lambda instance: "h")
        self.out, self.waiting, self.granted, self.refused, self.left = [], [], 0, 0, 0
        self.instances = [an_instance(InstanceState.READY, name=f"i-{n}") for n in range(3)]
        for instance in self.instances:
            self.roster.add(instance)
        self.set_limit(4)

    def happened(self, instance, event, reason=""):
        instance.state = step(instance.state, event).state
        self.desk.pump(instance.key)

    def set_limit(self, limit):
        """As a change of instanceConcurrency does it, on the instances that run."""
        self.limit = limit
        self.roster.want([pool_of(SPECS[limit], target=3)], [])
        self.desk.pump_all()
        self.settle()

    def took(self, lease):
        instance = self.desk.holder(lease)
        assert instance.in_flight <= self.limit, "more requests on an instance than its limit"
        self.out.append(lease)
        self.granted += 1

    def settle(self):
        """Who was served must have been first in the queue."""
        while self.waiting and self.waiting[0].grant.done():
            self.took(self.waiting.pop(0).grant.result())
        if self.waiting:
            assert not self.waiting[-1].grant.done(), "served before others who came first"
            assert all(i.in_flight >= self.limit for i in self.instances), "room, and somebody waits"

    def arrive(self):
        try:
            entered = self.desk.enter(KEY)
        except Refused as refused:
            assert refused.status == 429
            assert self.waiting
            self.refused += 1
            return
        if isinstance(entered, Lease):
            assert not self.waiting, "served while others waited"
            self.took(entered)
        else:
            self.waiting.append(entered)

    def end(self):
        position = self.random.randrange(len(self.out))
        self.out[position], self.out[-1] = self.out[-1], self.out[position]
        self.desk.give_back(self.out.pop())
        self.settle()

    def give_up(self):
        self.desk.leave(self.waiting.pop(self.random.randrange(len(self.waiting))))
        self.left += 1


def test_requests_never_exceed_the_limit_and_are_served_in_order():
    async def scenario():
        crowd = Crowd(20)
        draw = crowd.random.random
        for number in range(REQUESTS):
            crowd.arrive()
            if number % 5000 == 0:
                crowd.set_limit(crowd.random.choice(LIMITS))
            while crowd.out and draw() < 0.5:
                crowd.end()
            if crowd.waiting and draw() < 0.05:
                crowd.give_up()
        while crowd.out:
            crowd.end()
        assert crowd.waiting == []
        assert crowd.granted + crowd.refused + crowd.left == REQUESTS
        assert crowd.granted > REQUESTS / 2
        assert min(crowd.refused, crowd.left) > REQUESTS / 100
        assert all(i.in_flight == 0 for i in crowd.instances)

    asyncio.run(scenario())
