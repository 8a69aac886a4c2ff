"""The custom container of a function: image, start command, registry access, health check.

Owns: `CustomContainerConfig` and its parts. Promises: FC's names and limits. Never: resolves an image.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, StrictBool

from tickover.fc.base import FcModel, Wire
from tickover.fc.limits import Choice, Text, Whole


class HealthCheckConfig(FcModel):
    """A GET that answers 200 to 399 while the instance can serve."""

    http_get_url: Annotated[str | None, Text(1, 2048, r"/\S*", "be a path that starts with /")] = None
    initial_delay_seconds: Annotated[int | None, Whole(0, 120, unit="seconds")] = None
    period_seconds: Annotated[int | None, Whole(1, 120, unit="seconds")] = None
    timeout_seconds: Annotated[int | None, Whole(1, 3, unit="seconds")] = None
    failure_threshold: Annotated[int | None, Whole(1, 120)] = None
    success_threshold: Annotated[int | None, Whole(1, 120)] = None

    defaults = {  # noqa: RUF012 - read-only, typed in FcModel
        "initialDelaySeconds": 0,
        "periodSeconds": 3,
        "timeoutSeconds": 1,
        "failureThreshold": 3,
        "successThreshold": 1,
    }


class RegistryAuthConfig(FcModel):
    user_name: str | None = None
    password: str | None = Field(default=None, repr=False)


class RegistryCertConfig(FcModel):
    insecure: StrictBool | None = None
    root_ca_cert_base64: str | None = None


class RegistryNetworkConfig(FcModel):
    vpc_id: str | None = None
    v_switch_id: str | None = None
    security_group_id: str | None = None


class RegistryConfig(FcModel):
    """How to reach a registry that is not Alibaba's own."""

    auth_config: RegistryAuthConfig | None = None
    cert_config: RegistryCertConfig | None = None
    network_config: RegistryNetworkConfig | None = None


class AccelerationInfo(FcModel):
    status: str | None = None


def _no_credentials_in_image(wire: Wire) -> Iterator[tuple[str, str]]:
    if "@" in str(wire.get("image", "")).split("/", 1)[0]:
        yield "image", "must not carry credentials; put them into registryConfig.authConfig"


class CustomContainerConfig(FcModel):
    """What to run. image ``process://local`` is a tickover host's own: no image, a local process."""

    image: Annotated[str, Text(1, 1024, r"\S+", "be an image reference without blanks", show=False)]
    command: list[str] | None = None
    entrypoint: list[str] | None = None
    port: Annotated[int | None, Whole(1, 65535)] = None
    acr_instance_id: str | None = None
    acceleration_type: Annotated[str | None, Choice("Default", "None")] = None
    registry_config: RegistryConfig | None = None
    health_check_config: HealthCheckConfig | None = None
    # What FC answers, never asked for.
    acceleration_info: AccelerationInfo | None = None
    resolved_image_uri: str | None = None

    rules = (_no_credentials_in_image,)
    defaults = {"port": 9000}  # noqa: RUF012 - read-only, typed in FcModel

    def argv(self) -> list[str]:
        """Entrypoint and command in one list."""
        return [*(self.entrypoint or ()), *(self.command or ())]
