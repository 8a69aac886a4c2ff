"""Hypothesis strategies for property values."""

from __future__ import annotations

from hypothesis import strategies as st

from tickover.engine import wire
from tickover.engine.values import UNKNOWN, Archive, Asset, ResourceReference, Secret

REF = ResourceReference("urn:pulumi:d::p::a:b:C::n", "id-1", "1.2.3")
text = st.text(st.characters(exclude_categories=["Cs"]))
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False).map(wire.as_number)
    | text
    | st.sampled_from([UNKNOWN, REF, Asset(text=""), Asset(path="f", hash="ab"), Archive(uri="u")])
)
keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda k: k != wire.SIG_KEY)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4)
        | inner.map(lambda v: v if isinstance(v, Secret) else Secret(v))
        | st.dictionaries(keys, st.just(Asset(path="x")), max_size=2).map(lambda a: Archive(assets=a))
    ),
    max_leaves=12,
)
