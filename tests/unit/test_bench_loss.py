"""The counts of the loss bench: what is lost, what is doubled, what is counted apart."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench.loss.asking import Plan
from bench.loss.count import Evidence, Kill, Outcome, Window, counts, read_deliveries, read_reasons
from bench.loss.trouble import Trouble, schedule

FINE = Outcome("r-0", False, 0, "a", 1.0, 1.1, first_byte=True, fc_request="fc-0")
CUT = replace(FINE, request="r-1", error="stream cut", fc_request="fc-1")
REFUSED = replace(FINE, request="r-2", error="HTTP 502 BadResponse", first_byte=False)


def evidence(*outcomes, delivered="", kills=(), successors=(), killed=(), log=""):
    deaths = [Kill(pid, "a", 1.05) for pid in killed]
    return Evidence(outcomes, read_deliveries(delivered), kills, successors, deaths, read_reasons(log))


def line(request, reason):
    return json.dumps({"request_id": request, "reason": reason}) + "\n"


def test_a_loss_is_counted_before_or_after_its_first_byte_and_never_twice():
    found = counts(evidence(FINE, CUT, REFUSED, delivered="r-0 7\nr-1 7\nr-2 7\n"))
    assert found["requests"] == 3
    assert (found["answered"], found["lost_before_first_byte"], found["lost_after_first_byte"]) == (1, 1, 1)
    assert found["lost_before_first_byte_by_cause"] == {"HTTP 502 BadResponse": 1}


def test_a_loss_after_the_first_byte_is_explained_only_by_its_own_line_in_the_log():
    missing = "lost_after_first_byte_without_reason_in_log"
    assert counts(evidence(CUT, log=line("fc-9", "exited")))[missing] == 1
    assert counts(evidence(CUT, log=line("fc-1", "")))[missing] == 1
    assert counts(evidence(CUT, log='{"dropped": 3}\n' + line("fc-1", "exited")))[missing] == 0
    assert counts(evidence(replace(CUT, fc_request=""), log=line("fc-1", "exited")))[missing] == 1


def test_only_what_was_in_flight_when_the_host_was_killed_is_counted_apart():
    kill = Window(2.0, 2.01)
    during = replace(REFUSED, sent=1.9, ended=2.005)
    earlier = replace(REFUSED, request="r-3", sent=1.0, ended=1.9)
    successors = replace(REFUSED, request="r-4", sent=2.5, ended=2.6)
    found = counts(evidence(during, earlier, successors, kills=(kill,)))
    assert found["in_flight_at_host_kills"] == {"failed": 1, "before its first byte": 1}
    assert found["lost_before_first_byte"] == 2


def test_what_was_in_flight_when_a_successor_was_killed_is_a_count_of_its_own():
    kill = Window(2.0, 2.4)
    during = replace(CUT, sent=1.9, ended=2.2)
    found = counts(evidence(during, replace(CUT, ended=1.9), successors=(kill,)))
    assert found["in_flight_at_successor_kills"] == {"failed": 1, "after its first byte": 1}
    assert (found["successor_kills"], found["lost_after_first_byte"]) == (1, 1)


def test_a_second_delivery_is_a_duplicate_unless_the_first_instance_was_killed():
    assert counts(evidence(FINE, delivered="r-0 7\nr-0 8\n"))["duplicates_upstream"] == 1
    found = counts(evidence(FINE, delivered="r-0 7\nr-0 8\n", killed=[7]))
    assert (found["duplicates_upstream"], found["delivered_again_after_instance_kill"]) == (0, 1)
    # The last one being killed explains nothing.
    assert counts(evidence(FINE, delivered="r-0 7\nr-0 8\n", killed=[8]))["duplicates_upstream"] == 1


def test_an_answer_without_a_delivery_is_told():
    assert counts(evidence(FINE))["answered_but_not_delivered"] == 1


def test_a_loss_with_a_killed_instance_names_it():
    found = counts(evidence(CUT, delivered="r-1 7\n", killed=[7]))
    assert found["lost_after_first_byte_by_cause"] == {"instance killed: stream cut": 1}


def test_a_request_that_nobody_read_is_laid_to_a_kill_only_of_its_function_and_time():
    def cause(**changes):
        found = counts(evidence(replace(REFUSED, **changes), killed=[7]))
        return list(found["lost_before_first_byte_by_cause"])

    assert cause() == ["instance killed before it read: HTTP 502 BadResponse"]
    for changes in ({"function": "b"}, {"sent": 1.2, "ended": 1.3}, {"ended": 1.04}):
        assert cause(**changes) == ["HTTP 502 BadResponse"]


def test_bursts_go_to_the_functions_in_turn_with_pauses_between():
    plan = Plan(100, 100.0, 10, ("a", "b"))
    assert [plan.function(number) for number in (0, 9, 10, 20)] == ["a", "a", "b", "a"]
    assert plan.due(10) - plan.due(9) > 5 * (plan.due(9) - plan.due(8))
    assert plan.due(99) < plan.seconds


def test_troubles_are_spread_evenly_and_the_same_for_a_seed():
    found = schedule(3, 30.0, 1)
    assert found == schedule(3, 30.0, 1)
    assert [at for at, _ in found] == [pytest.approx(30 / 16 * place) for place in range(1, 16)]
    assert sorted(kind.value for _, kind in found) == sorted(kind.value for kind in Trouble for _ in range(3))
