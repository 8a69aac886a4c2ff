"""FC's errors: one exception, one table of codes.

Owns: `FcError` and which HTTP status a code travels with. Promises: the body that FC's own client reads.
Never: puts a secret into a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

STATUS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "EntityTooLarge": 400,
        "InstanceMetricsRequired": 400,
        "InvalidArgument": 400,
        "InvalidICPLicense": 400,
        "DomainNameNotResolved": 400,
        "MissingRequiredHeader": 400,
        "ProvisionConfigExist": 400,
        "ResidentScalingConfigExists": 400,
        "ResourcePoolInsufficientCapacity": 400,
        "SessionExpired": 401,
        "Unauthorized": 401,
        "AccessDenied": 403,
        "InvalidAccessKeyID": 403,
        "RequestTimeTooSkewed": 403,
        "SignatureNotMatch": 403,
        "AliasNotFound": 404,
        "ConcurrencyConfigNotFound": 404,
        "CustomDomainNotFound": 404,
        "DomainNameNotFound": 404,
        "DomainRouteNotFound": 404,
        "FunctionNotFound": 404,
        "PathNotSupported": 404,
        "ProvisionConfigNotFound": 404,
        "TriggerNotFound": 404,
        "VersionNotFound": 404,
        "MethodNotAllowed": 405,
        "AliasAlreadyExists": 409,
        "ConcurrentUpdateError": 409,
        "DomainNameAlreadyExists": 409,
        "FunctionAlreadyExists": 409,
        "TriggerAlreadyExists": 409,
        "CAExited": 412,
        "FunctionNotStarted": 412,
        "PreconditionFailed": 412,
        "ResourceExhausted": 429,
        "ClientClosedRequest": 499,
        "InternalServerError": 500,
        "NotImplemented": 501,
        "BadResponse": 502,
        "ResourceThrottled": 503,
        "ServiceUnavailable": 503,
    }
)
RETRYABLE: Final = frozenset(
    {
        "ConcurrentUpdateError",
        "InternalServerError",
        "ResourceExhausted",
        "ResourceThrottled",
        "ServiceUnavailable",
    }
)


@dataclass(eq=False)
class FcError(Exception):
    """An error as FC answers it."""

    code: str
    http_status: int
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    @property
    def is_not_found(self) -> bool:
        return self.http_status == 404

    @property
    def is_conflict(self) -> bool:
        return self.http_status == 409

    @property
    def is_retryable(self) -> bool:
        """True if the same call may work later."""
        return self.code in RETRYABLE or self.http_status >= 500

    def as_body(self, request_id: str) -> dict[str, str]:
        """The JSON body of the answer."""
        return {"RequestId": request_id, "Code": self.code, "Message": self.message}


def fc_error(code: str, message: str) -> FcError:
    """An error with the status that belongs to its code."""
    return FcError(code, STATUS[code], message)
