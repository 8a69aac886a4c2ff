"""Where the docker provider finds its engine and its passwords, and what Docker's errors mean."""

from __future__ import annotations

import base64
import json

import pytest

from tickover.engine.values import UNKNOWN, Secret
from tickover.errors import Exit, TickoverError
from tickover.provider.docker import faults
from tickover.provider.docker.config import check_config, resolve
from tickover.provider.docker.names import ImageName, parse, registry_of, same_repository

LOGIN = {"address": "https://reg.test/v2/", "username": "u", "password": "pass-word-1"}


def test_the_host_comes_from_config_then_the_environment_then_the_usual_socket():
    assert resolve({"host": "tcp://a:1"}, {"DOCKER_HOST": "tcp://b:1"}).host == "tcp://a:1"
    assert resolve({}, {"DOCKER_HOST": "tcp://b:1"}).host == "tcp://b:1"
    assert resolve({}, {}).host == "unix:///var/run/docker.sock"


@pytest.mark.parametrize(
    ("inputs", "path", "words"),
    [
        ({"context": "mine"}, "context", "config docker:context is not covered"),
        ({"sshOpts": ["-v"]}, "sshOpts", "config docker:sshOpts is not covered"),
        ({"caMaterial": Secret("PEM")}, "caMaterial", "certPath"),
        ({"host": "ssh://me@there"}, "host", "ssh:// is not covered"),
        ({"host": "nowhere"}, "host", "host must begin with one of unix://"),
        ({"registryAuth": "{"}, "registryAuth", "must be a list"),
        ({"registryAuth": [{"username": "u"}]}, "registryAuth[0].address", "needs an address"),
    ],
)
def test_bad_config_is_told_by_key(inputs, path, words):
    _, failures = check_config(inputs)
    assert [f.property for f in failures] == [path]
    assert words in failures[0].reason


def test_registry_passwords_are_secret_and_foreign_keys_are_left_out():
    kept, failures = check_config({"registryAuth": json.dumps([LOGIN]), "version": "5.0.0", "mine": 1})
    assert failures == () and kept == {"registryAuth": Secret(json.dumps([LOGIN]))}
    settings = resolve(kept, {})
    assert settings.logins["reg.test"].auth == {"username": "u", "password": "pass-word-1"}
    assert "pass-word-1" not in repr(settings)
    assert check_config({"registryAuth": [{"address": UNKNOWN}]})[1] == ()


def docker_file(**content) -> str:
    return json.dumps(content)


def test_a_login_without_a_name_comes_from_dockers_own_file(tmp_path):
    auth = base64.b64encode(b"u2:p:2").decode()
    text = docker_file(auths={"https://index.docker.io/v1/": {"auth": auth}})
    given = {"registryAuth": [{"address": "docker.io", "configFileContent": text}]}
    assert resolve(given, {}).logins["docker.io"].auth == {"username": "u2", "password": "p:2"}
    (tmp_path / "config.json").write_text(text)
    by_path = {"registryAuth": [{"address": "registry-1.docker.io"}]}
    assert resolve(by_path, {"DOCKER_CONFIG": str(tmp_path)}).logins["docker.io"].username == "u2"
    disabled = {"registryAuth": [{"address": "reg.test", "authDisabled": True}]}
    assert resolve(disabled, {}).logins == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{secret-in-bad-json", "it is not Docker's JSON"),
        (docker_file(auths={"other": {"auth": "dTpw"}}), "it has no password for that registry"),
        (docker_file(auths={"reg.test": {}}, credsStore="desktop"), "A credentials helper keeps"),
        (docker_file(auths={"reg.test": {"auth": "%%%"}}), "it is not Docker's JSON"),
    ],
)
def test_a_credentials_file_that_does_not_help_is_named_and_not_quoted(text, words):
    with pytest.raises(TickoverError) as error:
        resolve({"registryAuth": [{"address": "reg.test", "configFileContent": text}]}, {})
    assert words in error.value.detail and error.value.hint == "docker login reg.test"
    assert "secret-in-bad-json" not in str(error.value)
    assert error.value.exit_code is Exit.CONFIGURATION


def test_a_missing_credentials_file_is_named(tmp_path):
    path = tmp_path / "none.json"
    with pytest.raises(TickoverError, match=r"none\.json"):
        resolve({"registryAuth": [{"address": "reg.test", "configFile": str(path)}]}, {})


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("nginx", ImageName("docker.io", "library/nginx", "latest")),
        ("me/app:2", ImageName("docker.io", "me/app", "2")),
        ("localhost/app", ImageName("localhost", "app", "latest")),
        ("reg.test:5000/a/b:c", ImageName("reg.test:5000", "a/b", "c")),
        ("reg.test/a@sha256:12", ImageName("reg.test", "a", "", "sha256:12")),
        ("index.docker.io/library/x:1", ImageName("docker.io", "library/x", "1")),
    ],
)
def test_image_names_are_read_as_docker_reads_them(name, parts):
    assert parse(name) == parts
    assert parse(parts.full) == parts


def test_registries_are_told_apart_by_host_and_port():
    assert registry_of("https://Reg.Test:5000/v2/") == "reg.test:5000"
    assert same_repository("reg.test/a:1", "reg.test/a@sha256:1")
    assert not same_repository("reg.test/a:1", "a:1")


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (404, "No such image: a:1", "image-not-found"),
        (404, "manifest for a:1 not found: manifest unknown: manifest unknown", "image-not-found"),
        (500, "Get https://r/v2/: unauthorized: authentication required", "registry-denied"),
        (
            404,
            "pull access denied for a, repository does not exist or may require 'docker login'",
            "registry-denied",
        ),
        (500, "driver failed: Bind for 0.0.0.0:80 failed: port is already allocated", "port-taken"),
        (500, "listen tcp4 0.0.0.0:80: bind: address already in use", "port-taken"),
        (409, 'Conflict. The container name "/a" is already in use by container "b"', "name-taken"),
        (409, "network with name n already exists", "name-taken"),
        (409, "conflict: unable to remove repository reference (must be forced)", "still-in-use"),
        (500, 'could not select device driver "" with capabilities: [[gpu]]', "no-gpu"),
        (500, "Get http://r/v2/: dial tcp: lookup r: no such host", "registry-unreachable"),
        (500, "write /x: no space left on device", "engine-full"),
        (400, "invalid something", "docker-refused"),
    ],
)
def test_each_refusal_of_the_engine_has_its_meaning(status, message, code):
    error = faults.explain(status, message, "container web", "unix:///x.sock")
    assert error.code == code and "web" in error.detail and error.exit_code is not Exit.OK
    assert len(error.summary.split()) <= 6


def test_an_engine_that_does_not_answer_is_named_with_the_way_to_start_it():
    said = "Cannot connect to Docker Engine via unix:///x.sock [Cannot connect to unix socket [No such file]]"
    error = faults.explain(900, said, "container web", "unix:///x.sock")
    assert error.code == "docker-unreachable" and "unix:///x.sock does not answer" in error.detail
    assert "systemctl start docker" in error.hint
    denied = faults.explain(900, "[Permission denied]", "it", "unix:///x.sock")
    assert "usermod -aG docker" in denied.hint
    assert "docker:host" in faults.explain(900, "[refused]", "it", "tcp://h:1").hint


def test_secrets_are_hidden_the_longest_first():
    hidden = faults.secrets_in({"envs": [Secret("KEY=abcdef"), "PLAIN=hello"], "x": Secret({"y": ["abc"]})})
    assert hidden == {"KEY=abcdef", "abcdef", "abc"}
    assert faults.scrub("saw KEY=abcdef and abc", hidden) == "saw [secret] and [secret]"
    assert faults.environment_values(["A=short", "B=long-enough-value"]) == {"long-enough-value"}
    error = faults.explain(400, "bad env abcdef", "it", "h", hidden)
    assert "abcdef" not in str(error)
