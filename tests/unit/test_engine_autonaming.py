"""`pulumi:autonaming`: what it proposes to whom, and what it refuses."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tickover.engine.autonaming import KEY, Autonaming, read
from tickover.engine.provider import NamingMode
from tickover.errors import ConfigError

BUCKET = "urn:pulumi:dev::shop::aws:s3/bucket:Bucket::logs"
QUEUE = "urn:pulumi:dev::shop::aws:sqs/queue:Queue::jobs"
THING = "urn:pulumi:dev::shop::test:index:Thing::thing"


def rules(section: Any, **config: str) -> Autonaming:
    values = {f"shop:{key}": value for key, value in config.items()}
    return read({KEY: json.dumps(section), **values}, "organization", "shop", "dev")


def test_without_a_section_nothing_is_proposed():
    naming = read({}, "organization", "shop", "dev")
    assert naming.proposal(THING, b"seed") is None and not naming.deletes_first(THING)


@pytest.mark.parametrize(
    ("section", "name", "mode", "is_expected", "first"),
    [
        ({"mode": "verbatim"}, "thing", NamingMode.ENFORCE, False, True),
        ({"mode": "disabled"}, "", NamingMode.DISABLE, False, True),
        ({"pattern": "${name}-x"}, "thing-x", NamingMode.PROPOSE, False, True),
        ({"pattern": "${name}-x", "enforce": True}, "thing-x", NamingMode.ENFORCE, True, True),
        ({"pattern": "${organization}.${stack}"}, "organization.dev", NamingMode.PROPOSE, False, True),
        ({"pattern": "${config.tail}/${config.deep.list[1]}"}, "end/b", NamingMode.PROPOSE, False, True),
        ({"providers": {"test": {"pattern": "p"}}}, "p", NamingMode.PROPOSE, True, True),
    ],
)  # fmt: skip
def test_a_rule_proposes_a_name(section, name, mode, is_expected, first):
    naming = rules(section, tail="end", deep='{"list": ["a", "b"]}')
    proposed = naming.proposal(THING, b"seed")
    assert proposed is not None
    assert (proposed.name, proposed.mode, proposed.is_expected) == (name, mode, is_expected)
    assert naming.deletes_first(THING) is first


def test_the_narrower_rule_wins():
    section = {
        "mode": "verbatim",
        "providers": {
            "aws": {"mode": "default", "resources": {"aws:s3/bucket:Bucket": {"pattern": "b-${name}"}}},
            "gcp": {"resources": {"gcp:a:B": {"mode": "disabled"}}},
        },
    }
    naming = rules(section)
    bucket = naming.proposal(BUCKET, b"seed")
    assert bucket is not None and bucket.name == "b-logs"
    assert naming.proposal(QUEUE, b"seed") is None and not naming.deletes_first(QUEUE)
    thing = naming.proposal(THING, b"seed")
    assert thing is not None and thing.name == "thing"
    other = naming.proposal("urn:pulumi:dev::shop::gcp:c:D::other", b"seed")
    assert other is not None and other.name == "other"


@pytest.mark.parametrize(
    ("pattern", "shape"),
    [
        ("${name}-${hex(7)}", r"thing-[0-9a-f]{7}"),
        ("${alphanum(5)}${string(4)}${num(3)}", r"[a-z0-9]{5}[a-z]{4}[0-9]{3}"),
        ("${uuid}", r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"),
    ],
)
def test_what_is_drawn_is_the_same_for_a_seed_and_needs_no_deletion_first(pattern, shape):
    naming = rules({"pattern": pattern})
    names = [naming.proposal(THING, seed).name for seed in (b"one", b"one", b"two")]
    assert all(re.fullmatch(shape, name) for name in names)
    assert names[0] == names[1] != names[2] and not naming.deletes_first(THING)


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("verbatim", "dictionary"),
        ({"mode": "loud"}, "`mode`"),
        ({"modes": "verbatim"}, "`modes`"),
        ({"mode": "verbatim", "pattern": "x"}, "has `mode` and also"),
        ({"enforce": True}, "without a `pattern`"),
        ({"pattern": 5}, "`pattern`"),
        ({"pattern": "${config.none}"}, "shop:none"),
        ({"providers": {"aws": {"mode": "default", "enforce": True}}}, "The provider aws"),
        ({"providers": {"aws": {"resources": {"aws:a:B": {}}}}}, "neither a `mode` nor a `pattern`"),
    ],
)
def test_a_section_that_does_not_say_what_it_means_is_refused(section, told):
    with pytest.raises(ConfigError) as caught:
        rules(section)
    assert caught.value.code == "bad-autonaming" and told in caught.value.detail
