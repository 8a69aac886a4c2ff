"""What is priced: the spec of an instance, and metered time of it.

Owns: `Spec` and `Usage`. Promises: frozen, exact, checked on construction. Never: knows FC's wire form.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

MB_PER_GB: Final = 1024


class PriceError(ValueError):
    """Something that has no price."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What one instance has. gpu_type "" and gpu_memory_gb 0: no GPU."""

    cpu: Decimal
    memory_gb: Decimal
    disk_gb: Decimal = Decimal("0.5")
    gpu_type: str = ""
    gpu_memory_gb: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        for name in ("cpu", "memory_gb", "disk_gb", "gpu_memory_gb"):
            value = getattr(self, name)
            if not isinstance(value, Decimal):
                raise TypeError(f"{name} must be a Decimal, not {type(value).__name__}")
            if not value.is_finite() or value < 0:
                raise PriceError(f"{name} must not be negative, but is {value}.")
        if bool(self.gpu_type) != bool(self.gpu_memory_gb):
            raise PriceError("gpu_type and gpu_memory_gb must be given together.")

    @classmethod
    def from_mb(
        cls,
        cpu: Decimal | str | float,
        memory_mb: int,
        disk_mb: int = 512,
        gpu_type: str = "",
        gpu_memory_mb: int = 0,
    ) -> Spec:
        """A spec in FC's units. A float cpu is taken as the decimal it prints as."""
        gb = Decimal(MB_PER_GB)
        return cls(
            Decimal(str(cpu)),
            Decimal(memory_mb) / gb,
            Decimal(disk_mb) / gb,
            gpu_type,
            Decimal(gpu_memory_mb) / gb,
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """Metered time of one spec, in integer nanoseconds. starting is billed as active, as busy is.

    Under the `HOURLY` rounding one Usage is one function in one hour.
    """

    spec: Spec
    busy_ns: int = 0
    idle_ns: int = 0
    starting_ns: int = 0
    calls: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        for field in ("busy_ns", "idle_ns", "starting_ns", "calls"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{field} must be an int, not {type(value).__name__}")
            if value < 0:
                raise PriceError(f"{field} must not be negative, but is {value}.")

    @property
    def active_ns(self) -> int:
        """What is billed at the active factors."""
        return self.busy_ns + self.starting_ns
