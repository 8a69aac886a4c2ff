"""What the built-in provider does not cover."""

import pulumi_docker as docker

docker.Image("built", image_name="a/b:1", build=docker.DockerBuildArgs(context="."), skip_push=True)
docker.Container("attached", image="a/b:1", attach=True)
