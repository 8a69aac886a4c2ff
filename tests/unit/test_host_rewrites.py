"""rewriteConfig: FC's own examples, the order of the kinds, and what is refused."""

from __future__ import annotations

import time

import pytest

from tickover.host.rewrites import RewriteError, Rewrites, compile_rewrites


def rules(**kinds: tuple[str, str]) -> Rewrites:
    config = {kind: [{"match": m, "replacement": r}] for kind, (m, r) in kinds.items()}
    found = compile_rewrites(config)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("kind", "match", "replacement", "target", "expected"),
    [
        ("equalRules", "/old", "/new", "/old", "/new"),
        ("equalRules", "/old", "/new", "/old?a=1", "/new?a=1"),
        ("equalRules", "/old", "/new?b=2", "/old?a=1", "/new?b=2&a=1"),
        ("equalRules", "/old", "/new", "/test/old", "/test/old"),
        ("equalRules", "/a.b", "/a$1", "/a.b", "/a$1"),
        ("wildcardRules", "/old", "/new", "/test/old", "/new"),
        ("wildcardRules", "^/old", "/new", "/test/old", "/test/old"),
        ("wildcardRules", "/api/*", "/$1", "/api/getName", "/getName"),
        ("wildcardRules", "/api/*", "$1", "/api/x", "/x"),
        ("wildcardRules", "/f..c", "/hello", "/func", "/func"),
        ("wildcardRules", "/f..c", "/hello", "/f..c", "/hello"),
        ("wildcardRules", "/s/*/f/*/q/*", "/$1.$3/$2", "/s/a/f/b/q/1", "/a.1/b"),
        ("regexRules", "^/old/[a-z]+/", "/new", "/old/ab/", "/new"),
        ("regexRules", "^/api/.+?/(.*)", "/api/v2/$1", "/api/v1/test?x=/y", "/api/v2/test?x=/y"),
        ("regexRules", "^/(a)?b", "/x${1}1", "/b", "/x1"),
    ],
)
def test_rules(kind: str, match: str, replacement: str, target: str, expected: str) -> None:
    assert rules(**{kind: (match, replacement)}).apply(target) == expected


def test_equal_before_wildcard_before_regex() -> None:
    found = rules(
        regexRules=("^/a.*", "/regex"), wildcardRules=("^/a/*", "/wild"), equalRules=("/a/b", "/equal")
    )
    assert [found.apply(path) for path in ("/a/b", "/a/c", "/ab", "/c")] == [
        "/equal",
        "/wild",
        "/regex",
        "/c",
    ]


def test_no_rules_are_none() -> None:
    assert compile_rewrites(None) is None
    assert compile_rewrites({"equalRules": []}) is None


def test_a_pattern_that_explodes_elsewhere_takes_linear_time() -> None:
    found = rules(regexRules=("^/(a+)+$", "/x"))
    began = time.process_time()
    assert found.apply("/" + "a" * 4000 + "!") == "/" + "a" * 4000 + "!"
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    ("kind", "match", "replacement", "said"),
    [
        ("regexRules", "(", "/x", "RE2"),
        ("regexRules", r"(a)\1", "/x", "RE2"),
        ("regexRules", "((((a{1000}){1000}){1000}))", "/x", "RE2"),
        ("regexRules", "/(a)", "/$2", "$2"),
        ("wildcardRules", "/a", "x", "start with /"),
        ("equalRules", "/a", "/x y", "printable"),
        ("equalRules", "/a", "/x\r\nHost: y", "printable"),
    ],
)
def test_what_cannot_be_applied_is_refused(kind: str, match: str, replacement: str, said: str) -> None:
    with pytest.raises(RewriteError) as caught:
        rules(**{kind: (match, replacement)})
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{kind}[0].")
