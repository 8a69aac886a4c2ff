"""The components of package `parts`, served to programs in other processes."""

from kinds import Assembly, Broken, Part
from pulumi.provider.experimental import component_provider_host

if __name__ == "__main__":
    component_provider_host(components=[Part, Assembly, Broken], name="parts", version="1.2.3")
