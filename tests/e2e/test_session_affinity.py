"""A small run of the affinity bench: sessions of every kind while instances idle, die, come and go."""

from __future__ import annotations

from bench.session_affinity import FUNCTIONS, Wanted, run


def test_sessions_of_every_kind_stay_with_their_instance_as_long_as_it_lives(tmp_path):
    found = run(tmp_path, Wanted(requests=1400, callers=6, cycles=1, active_seconds=1.0))
    assert {found[name] for name in ("instances_killed", "deploys", "instances_added")} == {1}
    assert found["pauses"] >= 1
    assert found["against"] == []
    for kind in FUNCTIONS.values():
        seen = found["kinds"][kind]
        assert (seen["affinity"], seen["instance_of_two_servers"]) == (1.0, 0), kind
        assert seen["requests"] >= 350
        assert seen["instances"] >= 2
    assert sum(seen["wakes"] for seen in found["kinds"].values()) >= 2
