"""Small sound states and a cheap keyring for the tests of the engine's state."""

from __future__ import annotations

from tickover.engine.secrets import Keyring, Passphrase
from tickover.engine.state import Deployment, ResourceState
from tickover.engine.urn import make_urn, stack_urn

PROJECT = "demo"
STACK = "dev"
ROOT = stack_urn(STACK, PROJECT)
PROVIDER_URN = make_urn(STACK, PROJECT, ROOT, "pulumi:providers:test", "default")
PROVIDER = f"{PROVIDER_URN}::11111111-2222-3333-4444-555555555555"
KIND = "test:index:Thing"


def urn(name: str) -> str:
    return make_urn(STACK, PROJECT, ROOT, KIND, name)


def thing(name: str, **fields: object) -> ResourceState:
    """A custom resource below the stack."""
    needs = {"id": f"id-{name}", "parent": ROOT, "provider": PROVIDER} | fields
    return ResourceState(urn=urn(name), type=KIND, custom=True, **needs)  # type: ignore[arg-type]


def base() -> tuple[ResourceState, ...]:
    """The stack and a provider, which every other resource here needs."""
    return (
        ResourceState(urn=ROOT, type="pulumi:pulumi:Stack", custom=False),
        ResourceState(
            urn=PROVIDER_URN,
            type="pulumi:providers:test",
            custom=True,
            id="11111111-2222-3333-4444-555555555555",
            parent=ROOT,
        ),
    )


def deployment(*things: ResourceState) -> Deployment:
    return Deployment(resources=(*base(), *things))


class Refusing:
    """A passphrase that must not be asked for."""

    def __call__(self) -> str:
        raise AssertionError("the passphrase was asked for")


def locked_keyring() -> Keyring:
    return Keyring(Refusing())


def keyring(text: str = "correct horse") -> Keyring:
    return Keyring(lambda: Passphrase(text, "the test"))
