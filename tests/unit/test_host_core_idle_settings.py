"""What a function says of idling, as text in its environment variables."""

import pytest

from components.config import IdleConfig
from components.idle import VARIABLES as FIELDS
from components.idle import IdleArgs
from tickover.host.idle_settings import SECONDS, VARIABLES, IdleSettings, idle_problems, idle_settings
from tickover.host.model import Deepest


def test_nothing_said_is_nothing_set():
    for environment in (None, {}, {"OTHER": "1"}, {"TICKOVER_LINGER_SECONDS": ""}):
        assert idle_settings(environment) == IdleSettings()
        assert idle_problems(environment) == ()


def test_all_of_them_together():
    environment = {
        "TICKOVER_LINGER_SECONDS": "7.5",
        "TICKOVER_IDLE_DEEPEST": "checkpoint",
        "TICKOVER_IDLE_DEEP_AFTER_SECONDS": "300",
        "TICKOVER_WAKE_AHEAD_SECONDS": "20",
        "TICKOVER_MAX_AGE_SECONDS": "86400",
    }
    assert idle_settings(environment) == IdleSettings(7.5, Deepest.CHECKPOINT, 300.0, 20.0, 86400.0)
    assert idle_problems(environment) == ()


@pytest.mark.parametrize("variable", SECONDS)
@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf", "1e9", "1,5", " "])
def test_a_time_that_cannot_be_is_told_and_not_taken(variable, text):
    least, most = SECONDS[variable]
    (problem,) = idle_problems({variable: text})
    assert problem == (
        f"environmentVariables.{variable}: {variable} must be a number of seconds from "
        f"{least:.0f} to {most:.0f}, but is {text!r}."
    )
    assert idle_settings({variable: text}) == IdleSettings()


def test_limits_themselves_are_allowed():
    for variable, limits in SECONDS.items():
        for seconds in limits:
            assert idle_problems({variable: str(seconds)}) == ()


@pytest.mark.parametrize("text", ["deep", "SLEEP", "sleep "])
def test_an_unknown_rung_names_those_that_are(text):
    (problem,) = idle_problems({"TICKOVER_IDLE_DEEPEST": text})
    assert problem == (
        "environmentVariables.TICKOVER_IDLE_DEEPEST: TICKOVER_IDLE_DEEPEST must be none, freeze, sleep "
        f"or checkpoint, but is {text!r}."
    )


def test_every_problem_is_told_at_once_and_what_is_right_holds():
    environment = {
        "TICKOVER_LINGER_SECONDS": "x",
        "TICKOVER_IDLE_DEEPEST": "y",
        "TICKOVER_MAX_AGE_SECONDS": "60",
    }
    assert len(idle_problems(environment)) == 2
    assert idle_settings(environment) == IdleSettings(max_age_seconds=60.0)


def test_a_long_value_is_cut():
    (problem,) = idle_problems({"TICKOVER_LINGER_SECONDS": "9" * 500 + "x"})
    assert len(problem) < 200


def test_the_components_know_every_setting_by_the_same_names_and_words():
    assert set(FIELDS.values()) == set(VARIABLES)
    assert set(FIELDS) | {"enabled"} == set(IdleConfig.model_fields)
    for rung in Deepest:
        assert IdleConfig(deepest=rung.value).deepest == rung.value


def test_what_the_components_write_is_what_the_host_reads():
    said = IdleArgs(0.2, "freeze", 1 / 3, 0.0, 90_000.0)
    read = idle_settings(said.variables())
    assert read.deep_after_seconds == pytest.approx(1 / 3)
    assert (read.linger_seconds, read.deepest, read.wake_ahead_seconds) == (0.2, Deepest.FREEZE, 0.0)
    assert read.max_age_seconds == 90_000.0
    assert IdleArgs().variables() == {}
