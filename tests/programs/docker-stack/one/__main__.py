"""Image, network, volume and a web server: pulumi-docker as its users write it."""

import pulumi
import pulumi_docker as docker

config = pulumi.Config()
registry = config.require("registry")
auth = docker.ProviderRegistryAuthArgs(
    address=f"http://{registry}", username="tester", password=config.require_secret("password")
)
engine = docker.Provider("engine", host=config.require("host"), registry_auth=[auth])
with_engine = pulumi.ResourceOptions(provider=engine)

tag = docker.Tag(
    "tag", source_image=config.require("base"), target_image=f"{registry}/web:1", opts=with_engine
)
pushed = docker.RegistryImage("pushed", name=tag.target_image, keep_remotely=False, opts=with_engine)
image = docker.RemoteImage(
    "image",
    name=pulumi.Output.concat(registry, "/web@", pushed.sha256_digest),
    keep_locally=True,
    opts=with_engine,
)
network = docker.Network("network", internal=False, opts=with_engine)
volume = docker.Volume("volume", opts=with_engine)
web = docker.Container(
    "web",
    image=image.image_id,
    command=["httpd", "-f", "-p", "8080"],
    envs=["MODE=one", config.require_secret("password").apply(lambda p: f"TOKEN={p}")],
    ports=[docker.ContainerPortArgs(internal=8080, external=config.require_int("port"), ip="127.0.0.1")],
    volumes=[docker.ContainerVolumeArgs(volume_name=volume.name, container_path="/data")],
    networks_advanced=[docker.ContainerNetworksAdvancedArgs(name=network.name, aliases=["web"])],
    labels=[docker.ContainerLabelArgs(label="made.by", value="program")],
    healthcheck=docker.ContainerHealthcheckArgs(tests=["CMD", "true"], interval="200ms"),
    memory=32,
    wait=True,
    opts=with_engine,
)
found = docker.get_network_output(name=network.name, opts=pulumi.InvokeOptions(provider=engine))

pulumi.export("container", web.name)
pulumi.export("id", web.id)
pulumi.export("address", web.network_datas[0].ip_address)
pulumi.export("driver", found.driver)
pulumi.export("envs", web.envs)
