"""A bucket's URL, and servers that answer late, not at all, or without conditions."""

import obstore
import pytest
from obstore import exceptions as refused
from obstore.store import MemoryStore

from tickover.engine.stores import Moved
from tickover.engine.stores.bucket import BucketStore
from tickover.engine.stores.opening import open_bucket
from tickover.errors import ConfigError, TickoverError


@pytest.fixture
def store():
    return BucketStore(MemoryStore(), "gs://b", "gs://b", "b")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://b?regoin=x", "regoin"),
        ("s3://", "names no bucket"),
        ("s3://b?profile=nobody", "no profile 'nobody'"),
    ],
)
def test_urls_that_cannot_be(tmp_path, url, words):
    with pytest.raises(ConfigError, match=words):
        open_bucket(url, {"HOME": str(tmp_path)})


def test_the_profile_of_the_aws_tools_counts(tmp_path):
    (tmp_path / ".aws").mkdir()
    keys = "aws_access_key_id = ID\naws_secret_access_key = SECRET\n"
    (tmp_path / ".aws/credentials").write_text(f"[team]\n{keys}")
    (tmp_path / ".aws/config").write_text("[profile team]\nregion = eu-west-3\n")
    opened = open_bucket("s3://b/in/here?profile=team", {"HOME": str(tmp_path)})
    config = opened._store.config
    assert (config["access_key_id"], config["region"]) == ("ID", "eu-west-3")
    assert opened.place("k") == "s3://b/in/here/k"
    assert "SECRET" not in repr(opened)


def putting(monkeypatch, real=obstore.put, *, does=True, then):
    """The next conditional put acts (or not) and then raises."""

    def put(store, path, data, mode, **rest):
        if mode == "overwrite":
            return real(store, path, data, mode=mode, **rest)
        if does:
            real(store, path, data, mode="overwrite", **rest)
        raise then

    monkeypatch.setattr(obstore, "put", put)


def test_a_write_whose_answer_was_lost_counts_as_done(store, monkeypatch):
    putting(monkeypatch, then=refused.AlreadyExistsError("already exists"))
    tag = store.create("x", b"mine")
    assert store.read("x").etag == tag


def test_a_server_without_conditions_is_looked_at_first(store, monkeypatch):
    putting(monkeypatch, does=False, then=refused.GenericError("<Code>NotImplemented</Code>"))
    tag = store.create("x", b"1")
    with pytest.raises(Moved):
        store.create("x", b"2")
    store.replace("x", b"3", tag)
    with pytest.raises(Moved):
        store.replace("x", b"4", tag)
    assert store.read("x").data == b"3"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("<Code>AccessDenied</Code>", "bucket-credentials"),
        ("<Code>NoSuchBucket</Code>", "bucket-missing"),
        ("error sending request: operation timed out", "bucket-unreachable"),
        ("<Code>EntityTooLarge</Code>", "bucket-io"),
    ],
)
def test_a_refusal_is_named_and_shows_nothing_of_the_request(store, monkeypatch, text, code):
    putting(monkeypatch, does=False, then=refused.GenericError(f"{text}\nAuthorization: hunter2"))
    with pytest.raises(TickoverError) as caught:
        store.create("x", b"1")
    assert caught.value.code == code
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_not_found_of_something_that_is_no_store_is_no_empty_state(store, monkeypatch):
    def get(*_):
        raise refused.NotFoundError("404 <html>nothing here</html>")

    store.where = "s3://b"
    monkeypatch.setattr(obstore, "get", get)
    with pytest.raises(TickoverError, match="could not be read"):
        store.read("x")
