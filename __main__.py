"""The program: one model service for each entry of ``tickover:services`` in the stack's config."""

import pulumi

from components.config import load
from components.service import VllmService
from tickover.provider.resources import Provider

config, services = load(pulumi.Config(), pulumi.get_stack())
provider = Provider(
    config.target,
    target=config.target,
    region=config.region or None,
    account_id=config.account or None,
    endpoint=config.endpoint or None,
)
declared = {
    name: VllmService(name, args, pulumi.ResourceOptions(provider=provider))
    for name, args in services.items()
}
pulumi.export("urls", {name: service.url for name, service in declared.items()})
pulumi.export("models", {name: service.model for name, service in declared.items()})
