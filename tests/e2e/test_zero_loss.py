"""The loss bench: wakes, deploys, upgrades, and kills of host, successor, instance, under load.

TICKOVER_LOSS_REQUESTS asks for more of them than a quick run does.
"""

from __future__ import annotations

import os

from bench.zero_loss import PER_TROUBLE, Wanted, run


def test_no_request_is_lost_or_doubled_over_wakes_deploys_upgrades_and_kills(tmp_path):
    requests = int(os.environ.get("TICKOVER_LOSS_REQUESTS", "1000"))
    troubles = max(1, requests // PER_TROUBLE)
    found = run(tmp_path, Wanted(requests=requests, rate=100, troubles=troubles))
    assert found["requests"] == requests
    assert found["wakes"] >= requests // 50
    kinds = ("deploys", "upgrades", "successor_kills", "host_kills", "instance_kills")
    assert [found[kind] for kind in kinds] == [troubles] * len(kinds)
    assert found["duplicates_upstream"] == 0
    assert found["answered_but_not_delivered"] == 0
    assert found["lost_after_first_byte_without_reason_in_log"] == 0
    assert found["in_flight_at_kills_without_reason_in_log"] == 0
    # What was with the killed instance may be lost; whatever else is lost is a defect.
    causes = {**found["lost_before_first_byte_by_cause"], **found["lost_after_first_byte_by_cause"]}
    assert [cause for cause in causes if not cause.startswith("instance killed")] == []
