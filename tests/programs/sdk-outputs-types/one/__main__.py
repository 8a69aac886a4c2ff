"""Exports a value of each kind."""

import datetime
import pathlib

import pulumi


class Plain:
    """An ordinary object: its public fields are exported."""

    def __init__(self):
        self.shown = 1
        self._hidden = 2


shared = {"a": 1}
loop = []
loop.append(loop)
pulumi.export("string", "text \u00e9 \U0001f600 <&>")
pulumi.export("integer", 7)
pulumi.export("big", 2**40)
pulumi.export("negative", -1.5e-7)
pulumi.export("true", True)
pulumi.export("none", None)
pulumi.export("emptyList", [])
pulumi.export("emptyMap", {})
pulumi.export("emptyString", "")
pulumi.export("list", [1, "two", None, [3.5, {"deep": []}]])
pulumi.export("tuple", (1, 2))
pulumi.export("map", {"z": 1, "a": {"b": None}, "with space": [], "__underscored": 1})
pulumi.export("object", Plain())
pulumi.export("twice", [shared, shared])
pulumi.export("loop", loop)
pulumi.export("path", str(pathlib.PurePosixPath("a") / "b"))
pulumi.export("date", datetime.date(2020, 1, 2).isoformat())
pulumi.export("secret", pulumi.Output.secret("hush"))
pulumi.export("secretMap", pulumi.Output.secret({"a": [1, {"b": "hush"}]}))
pulumi.export(
    "nestedSecret", {"open": 1, "closed": pulumi.Output.secret("hush"), "list": [pulumi.Output.secret(1)]}
)
pulumi.export("secretInSecret", pulumi.Output.secret({"in": pulumi.Output.secret("hush")}))
pulumi.export("unsecreted", pulumi.Output.unsecret(pulumi.Output.secret("open")))
pulumi.export("asset", pulumi.StringAsset("words"))
pulumi.export("archive", pulumi.AssetArchive({"a.txt": pulumi.StringAsset("words")}))
pulumi.export("", "empty name")
pulumi.export("dotted.name[0]", 1)
