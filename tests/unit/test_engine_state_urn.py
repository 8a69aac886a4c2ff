"""URNs."""

from __future__ import annotations

import pytest

from tickover.engine.urn import Urn, make_urn, parse_urn, split_reference, stack_urn
from tickover.errors import TickoverError


def test_a_child_of_the_stack_has_no_chain():
    assert make_urn("dev", "p", stack_urn("dev", "p"), "a:b:C", "n") == "urn:pulumi:dev::p::a:b:C::n"


def test_the_chain_grows_with_each_component():
    outer = make_urn("dev", "p", stack_urn("dev", "p"), "my:x:Outer", "o")
    inner = make_urn("dev", "p", outer, "my:x:Inner", "i")
    leaf = parse_urn(make_urn("dev", "p", inner, "a:b:C", "leaf"))
    assert leaf == Urn("dev", "p", "my:x:Outer$my:x:Inner$a:b:C", "leaf")
    assert (leaf.type, leaf.parent_types) == ("a:b:C", ("my:x:Outer", "my:x:Inner"))


@pytest.mark.parametrize("name", ["plain", "with::colons", "with spaces/and:more", ""])
def test_parse_and_str_are_inverse(name):
    text = make_urn("dev", "p", "", "a:b:C", name)
    assert str(parse_urn(text)) == text
    assert parse_urn(text).name == name


@pytest.mark.parametrize("text", ["", "urn:pulumi:dev", "urn:aws:a::b::c::d", "urn:pulumi:::p::t::n"])
def test_what_is_no_urn_is_refused(text):
    with pytest.raises(TickoverError, match="Not a URN"):
        parse_urn(text)


def test_a_provider_reference_splits_at_the_last_colons():
    provider = make_urn("dev", "p", "", "pulumi:providers:x", "a::b")
    assert split_reference(f"{provider}::id-1") == (provider, "id-1")
    with pytest.raises(TickoverError, match="provider reference"):
        split_reference(make_urn("dev", "p", "", "a:b:C", "n") + "::id-1")
