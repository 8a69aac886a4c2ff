"""Export and import of whole stacks."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.support.engine_state import PROJECT, STACK, deployment, keyring, locked_keyring, thing, urn
from tickover.engine.backend import FileBackend
from tickover.engine.stackio import export_stack, import_stack
from tickover.engine.state import PendingOperation, PendingType
from tickover.engine.values import Secret
from tickover.errors import Exit, TickoverError

STATE = deployment(thing("a", inputs={"p": Secret("hunter2")}))


def test_export_then_import_into_another_folder(tmp_path):
    ring, first, second = keyring(), FileBackend(tmp_path / "1"), FileBackend(tmp_path / "2")
    first.save(PROJECT, STACK, STATE, ring)
    document = json.loads(json.dumps(export_stack(first, PROJECT, STACK, ring)))
    assert (document["version"], set(document)) == (3, {"version", "deployment"})
    assert "hunter2" not in json.dumps(document)
    import_stack(second, PROJECT, STACK, document, keyring())
    assert second.load(PROJECT, STACK, keyring()).deployment.resources == STATE.resources


def test_plaintext_secrets_can_move_to_another_passphrase(tmp_path):
    first, second = FileBackend(tmp_path / "1"), FileBackend(tmp_path / "2")
    first.save(PROJECT, STACK, STATE, keyring())
    document = export_stack(first, PROJECT, STACK, keyring(), show_secrets=True)
    assert "hunter2" in json.dumps(document)
    del document["deployment"]["secrets_providers"]
    import_stack(second, PROJECT, STACK, document, keyring("another"))
    assert second.load(PROJECT, STACK, keyring("another")).deployment.resources == STATE.resources
    with pytest.raises(TickoverError, match="Wrong passphrase"):
        second.load(PROJECT, STACK, keyring())


def test_pending_operations_are_settled_by_an_import(tmp_path):
    backend = FileBackend(tmp_path)
    pending = (PendingOperation(thing("b"), PendingType.CREATING),)
    backend.save(PROJECT, STACK, replace(deployment(), pending_operations=pending), locked_keyring())
    document = export_stack(backend, PROJECT, STACK, locked_keyring())
    assert document["deployment"]["pending_operations"][0]["type"] == "creating"
    assert import_stack(backend, PROJECT, STACK, document, locked_keyring()).pending_operations == ()


def test_a_bad_document_changes_nothing(tmp_path):
    backend = FileBackend(tmp_path)
    backend.save(PROJECT, STACK, deployment(), locked_keyring())
    document = export_stack(backend, PROJECT, STACK, locked_keyring())
    broken = json.loads(json.dumps(document).replace("::demo::", "::other::"))
    with pytest.raises(TickoverError, match="it is of other/dev"):
        import_stack(backend, PROJECT, STACK, broken, locked_keyring())
    document["deployment"]["resources"].append(
        {"urn": urn("x"), "custom": True, "type": "t:t:T", "parent": urn("none")}
    )
    with pytest.raises(TickoverError, match="does not exist"):
        import_stack(backend, PROJECT, STACK, document, locked_keyring())
    assert len(backend.load(PROJECT, STACK, locked_keyring()).deployment.resources) == 2


def test_a_stack_without_state_is_not_found(tmp_path):
    with pytest.raises(TickoverError) as caught:
        export_stack(FileBackend(tmp_path), PROJECT, "none", locked_keyring())
    assert caught.value.exit_code == Exit.STACK_NOT_FOUND
