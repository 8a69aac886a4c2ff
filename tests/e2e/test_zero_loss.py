"""A small run of the loss bench: wakes, a deploy, an upgrade, and kills of host, successor, instance."""

from __future__ import annotations

from bench.zero_loss import Wanted, run


def test_no_request_is_lost_or_doubled_over_wakes_deploys_upgrades_and_kills(tmp_path):
    found = run(tmp_path, Wanted(requests=1000, rate=100, troubles=1))
    assert found["requests"] == 1000
    assert found["wakes"] >= 20
    kinds = ("deploys", "upgrades", "successor_kills", "host_kills", "instance_kills")
    assert [found[kind] for kind in kinds] == [1, 1, 1, 1, 1]
    assert found["duplicates_upstream"] == 0
    assert found["answered_but_not_delivered"] == 0
    # What was with the killed instance may be lost; whatever else is lost is a defect.
    causes = {**found["lost_before_first_byte_by_cause"], **found["lost_after_first_byte_by_cause"]}
    assert [cause for cause in causes if not cause.startswith("instance killed")] == []
