"""What was made by hand, declared as it is."""

import pulumi
import pulumi_docker as docker

base = pulumi.Config().require("base")
docker.Volume("data", name="by-hand")
docker.Container("web", name="by-hand", image=base, command=["sleep", "1000"], restart="always")
