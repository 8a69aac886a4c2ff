"""What the engine asks of a provider: one async protocol, whatever the transport.

Owns: the request and result values of the provider verbs. Promises: secrets and unknowns travel as
`values.Secret` and `values.UNKNOWN`. Never: any transport, any resource type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from tickover.engine.values import PropertyMap

if TYPE_CHECKING:
    from pulumi.runtime.proto import provider_pb2


class Severity(Enum):
    """Severity of a line that a provider or program says."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class ProviderLog(Protocol):
    """How a provider speaks: progress lines are ephemeral, findings are not."""

    def __call__(self, severity: Severity, urn: str, message: str, *, ephemeral: bool = False) -> None: ...


@dataclass(frozen=True, slots=True)
class CheckFailure:
    """One bad input. property: path such as ``gpuConfig.gpuType``; reason: a full sentence."""

    property: str
    reason: str


@dataclass(frozen=True, slots=True)
class ConfigureRequest:
    """urn, id: of the provider resource; id is empty where it is not known yet."""

    inputs: PropertyMap
    urn: str = ""
    id: str = ""


class NamingMode(Enum):
    """What a provider is to do about an object that its inputs do not name."""

    PROPOSE = "PROPOSE"  # use the name, completed where the cloud's rules want it
    ENFORCE = "ENFORCE"  # use the name as it is
    DISABLE = "DISABLE"  # refuse


@dataclass(frozen=True, slots=True)
class ProposedName:
    """is_expected: the user is to hear of it if the provider does not heed it."""

    name: str
    mode: NamingMode
    is_expected: bool = False


@dataclass(frozen=True, slots=True)
class CheckRequest:
    urn: str
    olds: PropertyMap | None
    news: PropertyMap
    random_seed: bytes = b""
    proposed: ProposedName | None = None


@dataclass(frozen=True, slots=True)
class CheckResult:
    inputs: PropertyMap
    failures: tuple[CheckFailure, ...] = ()
    warnings: tuple[str, ...] = ()


class DiffKind(Enum):
    ADD = "add"
    ADD_REPLACE = "add-replace"
    DELETE = "delete"
    DELETE_REPLACE = "delete-replace"
    UPDATE = "update"
    UPDATE_REPLACE = "update-replace"

    @property
    def is_replace(self) -> bool:
        return self.value.endswith("-replace")


@dataclass(frozen=True, slots=True)
class PropertyDiff:
    kind: DiffKind
    input_diff: bool = True


@dataclass(frozen=True, slots=True)
class DiffRequest:
    urn: str
    id: str
    old_inputs: PropertyMap
    old_outputs: PropertyMap
    news: PropertyMap
    ignore_changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DiffResult:
    """changes: True, False, or None where the provider cannot tell (the engine then compares inputs)."""

    changes: bool | None
    replaces: tuple[str, ...] = ()
    delete_before_replace: bool = False
    detailed: Mapping[str, PropertyDiff] = field(default_factory=dict)
    changed_keys: tuple[str, ...] = ()
    stables: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CreateRequest:
    urn: str
    news: PropertyMap
    timeout_seconds: float = 0.0
    preview: bool = False


@dataclass(frozen=True, slots=True)
class CreateResult:
    """refresh_before_update: the provider wants Read before each Diff (the same in Read and Update)."""

    id: str
    outputs: PropertyMap
    refresh_before_update: bool = False


@dataclass(frozen=True, slots=True)
class ReadRequest:
    urn: str
    id: str
    inputs: PropertyMap
    outputs: PropertyMap


@dataclass(frozen=True, slots=True)
class ReadResult:
    """id empty: the resource is gone. inputs None: the provider does not say."""

    id: str
    outputs: PropertyMap
    inputs: PropertyMap | None = None
    refresh_before_update: bool = False


@dataclass(frozen=True, slots=True)
class UpdateRequest:
    urn: str
    id: str
    old_inputs: PropertyMap
    old_outputs: PropertyMap
    news: PropertyMap
    timeout_seconds: float = 0.0
    ignore_changes: tuple[str, ...] = ()
    preview: bool = False


@dataclass(frozen=True, slots=True)
class UpdateResult:
    outputs: PropertyMap
    refresh_before_update: bool = False


@dataclass(frozen=True, slots=True)
class DeleteRequest:
    urn: str
    id: str
    inputs: PropertyMap
    outputs: PropertyMap
    timeout_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class InvokeResult:
    outputs: PropertyMap
    failures: tuple[CheckFailure, ...] = ()


@dataclass
class InitFailed(Exception):
    """The object exists but is not as asked (Pulumi's ErrorResourceInitFailed): kept with initErrors."""

    id: str
    outputs: PropertyMap
    reasons: tuple[str, ...]
    inputs: PropertyMap | None = None

    def __str__(self) -> str:
        return "; ".join(self.reasons)


class Unavailable(Exception):
    """The provider cannot answer yet because its own configuration is unknown."""


class Unimplemented(Exception):
    """The provider does not know this verb."""


class Provider(Protocol):
    """The verbs. Errors: `TickoverError` for what a person can act on, `InitFailed` for partial success."""

    async def check_config(self, request: CheckRequest) -> CheckResult: ...
    async def diff_config(self, request: DiffRequest) -> DiffResult: ...
    async def configure(self, request: ConfigureRequest) -> None: ...
    async def check(self, request: CheckRequest) -> CheckResult: ...
    async def diff(self, request: DiffRequest) -> DiffResult: ...
    async def create(self, request: CreateRequest) -> CreateResult: ...
    async def read(self, request: ReadRequest) -> ReadResult: ...
    async def update(self, request: UpdateRequest) -> UpdateResult: ...
    async def delete(self, request: DeleteRequest) -> None: ...
    async def invoke(self, token: str, args: PropertyMap) -> InvokeResult: ...
    async def construct(self, request: provider_pb2.ConstructRequest) -> provider_pb2.ConstructResponse:
        """Registers a component and its children with the monitor that the request names."""

    async def call(self, request: provider_pb2.CallRequest) -> provider_pb2.CallResponse:
        """A method of a resource; it may register resources too."""

    async def parameterize(
        self, request: provider_pb2.ParameterizeRequest
    ) -> provider_pb2.ParameterizeResponse:
        """Before configure: turns a generic provider into one of another package."""

    async def cancel(self) -> None: ...
    async def close(self) -> None: ...
    @property
    def supports_preview(self) -> bool: ...


class Local:
    """What a provider that runs in this process need not know: the verbs of remote components."""

    async def construct(self, request: provider_pb2.ConstructRequest) -> provider_pb2.ConstructResponse:
        raise Unimplemented("Construct")

    async def call(self, request: provider_pb2.CallRequest) -> provider_pb2.CallResponse:
        raise Unimplemented("Call")

    async def parameterize(
        self, request: provider_pb2.ParameterizeRequest
    ) -> provider_pb2.ParameterizeResponse:
        raise Unimplemented("Parameterize")


# Makes one provider instance of a package; a stack may hold several (one per provider resource).
ProviderFactory = Callable[[ProviderLog], Provider]
