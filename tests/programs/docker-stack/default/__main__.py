"""No provider of its own: the engine and the registry's password come from the config of package docker."""

import pulumi
import pulumi_docker as docker

config = pulumi.Config()
registry = config.require("registry")
tag = docker.Tag("tag", source_image=config.require("base"), target_image=f"{registry}/plain:1")
pushed = docker.RegistryImage("pushed", name=tag.target_image)
volume = docker.Volume("volume")
pulumi.export("digest", pushed.sha256_digest)
