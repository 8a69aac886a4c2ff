"""Pulumi.yaml, Pulumi.<stack>.yaml, and everything that can be wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.support.engine_state import deployment, keyring, locked_keyring
from tickover.engine import yamlio
from tickover.engine.backend import FileBackend
from tickover.engine.backendurl import BackendUrl, choose_url, folder_of
from tickover.engine.configpath import get_at, parse_path, removed_at, set_at
from tickover.engine.project import load_project
from tickover.engine.stackconfig import (
    check_config,
    config_for_program,
    config_path,
    get_value,
    known_stacks,
    load_stack_config,
    passphrase_for,
    remove_value,
    require_stack,
    set_value,
)
from tickover.engine.values import Secret
from tickover.errors import ConfigError, Exit, TickoverError

PULUMI_YAML = """\
name: tickover
description: a demo
runtime: {name: python, options: {virtualenv: .venv}}
main: program
stackConfigDir: stacks
backend: {url: "file://.tickover/state"}
plugins: {providers: [{name: tickover, path: .venv/bin}]}
config:
  tickover:target: {type: string, default: host, description: where}
  tickover:services: {type: object, description: what}
  tickover:count: {type: integer, default: 3}
  tickover:names: {type: array, items: {type: string}, default: []}
  tickover:token: {type: string, secret: true, default: none}
  region: eu
"""


@pytest.fixture
def make(tmp_path):
    """Makes a project with the given stack files, and returns it."""

    def build(project_yaml=PULUMI_YAML, **stacks):
        (tmp_path / "Pulumi.yaml").write_text(project_yaml)
        (tmp_path / "stacks").mkdir(exist_ok=True)
        for name, text in stacks.items():
            (tmp_path / "stacks" / f"Pulumi.{name}.yaml").write_text(text)
        return load_project(tmp_path)

    return build


# --- the project ---------------------------------------------------------------------------------------


def test_a_project_is_read_whole(make, tmp_path):
    project = make()
    assert (project.name, project.runtime, project.description) == ("tickover", "python", "a demo")
    assert project.runtime_options == {"virtualenv": ".venv"}
    assert (project.main, project.stack_config_dir) == (tmp_path / "program", tmp_path / "stacks")
    assert project.backend_url == "file://.tickover/state"
    assert [(p.kind, p.name, p.path) for p in project.plugins] == [
        ("providers", "tickover", tmp_path / ".venv/bin")
    ]
    assert str(project.config["tickover:names"].type) == "array of string"
    assert project.config["tickover:region"].value == "eu"


def test_defaults_of_a_bare_project(make, tmp_path):
    project = make("name: p\nruntime: python\n")
    assert (project.main, project.stack_config_dir) == (tmp_path, tmp_path)
    assert (project.config, project.plugins) == ({}, ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("runtime: python", "`name`"),
        ("- a", "map of keys"),
        ("name: [", "Pulumi.yaml"),
        ("name: p\nruntime: {options: 1}", "`runtime`"),
        ("name: p\nbackend: file://x", "`backend`"),
        ("name: p\nplugins: {providers: [{name: x}]}", "a name and a path"),
        ("name: p\nconfig: {a: {type: text}}", "string, integer, number, boolean, array, object"),
        ("name: p\nconfig: {a: {type: integer, default: x}}", "`config.p:a.default`"),
    ],
)
def test_a_bad_project_is_a_config_error(make, text, words):
    with pytest.raises(ConfigError) as caught:
        make(text)
    assert caught.value.exit_code == Exit.CONFIGURATION
    assert words in str(caught.value)


def test_no_project(tmp_path):
    with pytest.raises(ConfigError, match="No Pulumi project"):
        load_project(tmp_path)


# --- the back end's place ------------------------------------------------------------------------------


def test_the_url_comes_from_env_then_project_then_login_then_home(make, tmp_path):
    project, bare = make(), None
    home = tmp_path / "pulumi-home"
    home.mkdir()
    env = {"PULUMI_HOME": str(home), "HOME": "/home/ann"}
    assert choose_url(project, env | {"PULUMI_BACKEND_URL": "file:///x"}).url == "file:///x"
    assert choose_url(project, env).url == "file://.tickover/state"
    bare = make("name: p\n")
    assert choose_url(bare, env) == BackendUrl("file://~", "the default")
    (home / "credentials.json").write_text('{"current": "https://api.pulumi.com"}')
    chosen = choose_url(bare, env)
    with pytest.raises(ConfigError, match=r"api\.pulumi\.com"):
        folder_of(chosen, tmp_path, env)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("file://~", "/home/ann"),
        ("file://~/states", "/home/ann/states"),
        ("file:///abs/with%20space?no_tmp_dir=true", "/abs/with space"),
        ("file://./rel", "ROOT/rel"),
        ("file://.tickover/state", "ROOT/.tickover/state"),
        ("file://", "ROOT"),
    ],
)
def test_file_urls(tmp_path, monkeypatch, url, expected):
    monkeypatch.delenv("TICKOVER_HOME", raising=False)
    found = folder_of(BackendUrl(url, "t"), tmp_path, {"HOME": "/home/ann"})
    assert str(found) == expected.replace("ROOT", str(tmp_path))


def test_the_data_home_may_lie_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("TICKOVER_HOME", "/data/t")
    assert folder_of(BackendUrl("file://.tickover/state", "t"), tmp_path) == Path("/data/t/state")


# --- reading and handing over ----------------------------------------------------------------------------


def test_the_program_gets_text_json_and_defaults(make):
    project = make(
        dev="config:\n  tickover:services:\n    chat: {n: 1, on: yes, at: 12:30:45, d: 2026-01-01}\n"
        "  tickover:count: 5\n  other:flag: true\n"
    )
    values, secret = config_for_program(project, load_stack_config(project, "dev"), locked_keyring())
    assert values == {
        "other:flag": "true",
        "tickover:count": "5",
        "tickover:names": "[]",
        "tickover:region": "eu",
        "tickover:services": '{"chat":{"n":1,"on":"yes","at":"12:30:45","d":"2026-01-01"}}',
        "tickover:target": "host",
        "tickover:token": "none",
    }
    assert secret == ("tickover:token",)


def test_secrets_are_opened_nested_too_and_their_keys_named(make):
    project = make(dev="config:\n  tickover:services: {}\n")
    ring = keyring()
    config = load_stack_config(project, "dev")
    config = set_value(project, config, "tickover:token", "t0p", ring, secret=True).config
    config = set_value(
        project, config, "tickover:services.chat.key", "hunter2", ring, secret=True, as_path=True
    ).config
    text = config_path(project, "dev").read_text()
    assert "hunter2" not in text
    assert "t0p" not in text
    assert text.count("secure:") == 2
    values, secret = config_for_program(project, load_stack_config(project, "dev"), keyring())
    assert values["tickover:services"] == '{"chat":{"key":"hunter2"}}'
    assert values["tickover:token"] == "t0p"
    assert secret == ("tickover:services", "tickover:token")


def test_a_file_that_is_absent_is_an_empty_config(make):
    project = make()
    config = load_stack_config(project, "none")
    assert (config.exists, config.values, config.salt) == (False, {}, "")


def test_encrypted_values_without_salt(make):
    project = make(dev="config:\n  tickover:services: {}\n  tickover:token: {secure: v1:a:b}\n")
    with pytest.raises(ConfigError, match="encryptionsalt"):
        config_for_program(project, load_stack_config(project, "dev"), keyring())


@pytest.mark.parametrize("text", ["config: [1]", "- x", "config:\n  a: {", "\x00"])
def test_what_is_no_stack_file(make, text):
    project = make(dev=text)
    with pytest.raises(ConfigError, match="Stack config cannot be read"):
        load_stack_config(project, "dev")


# --- mistakes --------------------------------------------------------------------------------------------


def test_all_mistakes_at_once_with_path_line_and_suggestion(make):
    project = make(
        dev="config:\n"
        "  tickover:servces: {chat: {}}\n"
        "  tickover:count: many\n"
        "  tickover:names: [a, {b: c}]\n"
        "  tickover:token: in-clear\n"
        "  tikover:target: host\n"
        "  alicloud:region: cn\n"
        "  tickover:target: [host]\n"
        "  tickover:target: host\n"
    )
    with pytest.raises(ConfigError) as caught:
        check_config(project, load_stack_config(project, "dev"))
    detail = caught.value.detail
    assert caught.value.exit_code == Exit.CONFIGURATION
    assert detail.startswith("stacks/Pulumi.dev.yaml has 7 mistakes:")
    for line in (
        "line 2: tickover:servces: The project declares no such key. Did you mean `tickover:services`?",
        "line 3: tickover:count: This must be an integer, not text.",
        "line 4: tickover:names[1]: This must be a string, not a map.",
        "line 5: tickover:token: This must be a secret",
        "line 6: tikover:target: The project declares no such key. Did you mean `tickover:target`?",
        "tickover:services: This object has no value in the stack and no default.",
        "line 9: tickover:target: This key is given twice.",
    ):
        assert line in detail
    assert "in-clear" not in detail
    assert "alicloud" not in detail


def test_a_project_without_schema_accepts_anything(make):
    project = make(
        "name: p\n",
    )
    (project.root / "Pulumi.dev.yaml").write_text("config:\n  p:whatever: 1\n  x:y: 2\n")
    check_config(project, load_stack_config(project, "dev"))


def test_an_encrypted_value_is_not_checked_for_its_type(make):
    project = make(dev="config:\n  tickover:services: {}\n  tickover:count: {secure: v1:a:b}\n")
    check_config(project, load_stack_config(project, "dev"))


# --- editing ---------------------------------------------------------------------------------------------

COMMENTED = """\
# the dev stack
encryptionsalt: v1:x:y  # keep
config:
  # which
  tickover:target: host   # here
  tickover:services:
    chat:
      # inner
      n: 1

  # trailing
other: kept
"""


def test_an_edit_keeps_the_rest_of_the_file(make):
    project = make(dev=COMMENTED)
    edit = set_value(project, load_stack_config(project, "dev"), "target", "cloud", keyring())
    expected = COMMENTED.replace("tickover:target: host   # here", "tickover:target: cloud")
    assert config_path(project, "dev").read_text() == expected
    assert edit.comments_kept
    edit = set_value(project, edit.config, "tickover:count", "5", keyring())
    edit = remove_value(project, edit.config, "tickover:services")
    text = config_path(project, "dev").read_text()
    assert "# the dev stack" in text
    assert "# trailing" in text
    assert "chat" not in text
    assert yaml.safe_load(text)["config"] == {"tickover:target": "cloud", "tickover:count": "5"}
    assert edit.comments_kept


def test_a_flow_style_file_is_written_anew_and_says_so(make):
    project = make(dev="# c\nconfig: {tickover:target: host}\n")
    edit = set_value(project, load_stack_config(project, "dev"), "count", "1", keyring())
    assert not edit.comments_kept
    assert edit.config.values == {"tickover:target": "host", "tickover:count": "1"}


def test_values_along_a_path_are_typed_and_plain_ones_are_text(make):
    project = make()
    config, ring = load_stack_config(project, "new"), keyring()
    for key, value in (
        ("services.chat.n", "5"),
        ("services.chat.on", "true"),
        ("services.chat.list[0]", "x"),
        ('services["odd.name"]', "007"),
    ):
        config = set_value(project, config, key, value, ring, as_path=True).config
    config = set_value(project, config, "count", "5", ring).config
    assert config.values == {
        "tickover:services": {"chat": {"n": 5, "on": True, "list": ["x"]}, "odd.name": "007"},
        "tickover:count": "5",
    }
    assert get_value(project, config, "services.chat.list[0]", ring, as_path=True) == "x"
    assert get_value(project, config, "tickover:target", ring) == "host"
    config = remove_value(project, config, "services.chat.n", as_path=True).config
    assert config.values["tickover:services"]["chat"] == {"on": True, "list": ["x"]}
    for missing in ("services.chat.n", "services.caht"):
        with pytest.raises(ConfigError, match="No such config value"):
            remove_value(project, config, missing, as_path=True)
    with pytest.raises(ConfigError, match="Did you mean `tickover:count`"):
        get_value(project, config, "tickover:cuont", ring)


def test_a_secret_read_back_is_a_secret(make):
    project = make(dev="config: {}\n")
    ring = keyring()
    edit = set_value(project, load_stack_config(project, "dev"), "token", "t0p", ring, secret=True)
    assert get_value(project, edit.config, "token", ring) == Secret("t0p")
    again = set_value(project, edit.config, "token", "more", keyring(), secret=True)
    assert again.config.salt == edit.config.salt


names = st.sampled_from(["a", "b", "c d", "e:f", "tickover:x", "1"])
plain = st.recursive(
    st.integers(-5, 5) | st.booleans() | st.sampled_from(["yes", "2026-01-01", "1:30", "", "a # b", "ü\n"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(names, plain, max_size=4),
    names,
    plain,
    st.sampled_from(["# top\n", ""]),
    st.sampled_from(["", "tail: 1\n", "  # end\n"]),
)
def test_any_edit_reads_back_as_wanted(block, key, value, head, tail):
    text = head + yamlio.dump({"config": block}) + tail
    changed, _ = yamlio.edited(text, "config", key, value)
    rest = {"tail": 1} if "tail" in tail else {}
    assert yamlio.parse(changed).value == {"config": block | {key: value}} | rest
    removed, _ = yamlio.edited(changed, "config", key)
    left = {k: v for k, v in block.items() if k != key}
    assert (yamlio.parse(removed).value or {}).get("config") in (left, left or None)


def test_paths():
    assert parse_path('a.b[0]["c.d"].e') == ("a", "b", 0, "c.d", "e")
    for bad in ("", ".a", "[0]", "a[x]", "a]"):
        with pytest.raises(ConfigError):
            parse_path(bad)
    value = set_at(None, ("a", 0, "b"), 1)
    assert value == {"a": [{"b": 1}]}
    assert get_at(value, ("a", 0, "b")) == 1
    assert removed_at(value, ("a", 0)) == {"a": []}
    for steps in (("a", 5), ("a", "b", "c")):
        with pytest.raises(ConfigError):
            set_at(value, steps, 1)


# --- which stacks --------------------------------------------------------------------------------------


def test_a_stack_exists_by_its_file_or_its_state(make, tmp_path):
    project = make(dev="config: {}\n", staging="config: {}\n")
    backend = FileBackend(tmp_path / "state")
    backend.save(project.name, "old", deployment(), keyring())
    assert known_stacks(project, backend) == ("dev", "old", "staging")
    for name in ("dev", "old"):
        require_stack(project, backend, name)
    with pytest.raises(TickoverError) as caught:
        require_stack(project, backend, "stagin")
    assert caught.value.exit_code == Exit.STACK_NOT_FOUND
    assert "Did you mean `staging`?" in caught.value.detail
    with pytest.raises(TickoverError, match="tickover stack init qa"):
        require_stack(project, backend, "qa")


def test_a_passphrase_is_made_only_for_a_stack_without_salt(make, tmp_path):
    project = make(dev="config: {}\n", old="encryptionsalt: v1:x:y\n")
    backend = FileBackend(tmp_path / "state")
    home = tmp_path / "home"
    with pytest.raises(TickoverError, match="Passphrase is missing"):
        passphrase_for(project, "old", backend, {}, home)()
    made = passphrase_for(project, "dev", backend, {}, home)()
    assert (home / "passphrase").read_text().strip() == made
