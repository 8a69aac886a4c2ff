"""The account of what serves no request on a connection of HTTP/2."""

from tickover.host.h2_patience import FOR_AN_ANSWER, MOST, PER_SECOND, Patience


def test_a_flood_runs_out_and_a_trickle_does_not():
    patience = Patience()
    for _ in range(int(MOST)):
        patience.spend()
    assert not patience.is_gone
    patience.spend()
    assert patience.is_gone
    patience.rest(1.0)
    for _ in range(int(PER_SECOND) - 1):
        patience.spend()
    assert not patience.is_gone


def test_one_reset_for_each_answer_goes_on_for_ever():
    patience = Patience()
    for _ in range(10_000):
        patience.earn(FOR_AN_ANSWER)
        patience.spend()
        assert not patience.is_gone


def test_nothing_is_saved_up_beyond_the_most():
    patience = Patience()
    patience.rest(1_000_000.0)
    for _ in range(int(MOST) + 1):
        patience.spend()
    assert patience.is_gone
