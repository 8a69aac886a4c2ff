"""Reads config in each way and exports what it got."""

import pulumi

own = pulumi.Config()
shop = pulumi.Config("shop")


def failure(read, key):
    """The class name of what a getter raises, or the value."""
    try:
        return read(key)
    except pulumi.ConfigTypeError:
        return "ConfigTypeError"
    except pulumi.ConfigMissingError:
        return "ConfigMissingError"


pulumi.export("plain", own.get("plain"))
pulumi.export("empty", own.get("empty"))
pulumi.export("count", own.require_int("count"))
pulumi.export("ratio", own.get_float("ratio", 0.125))
pulumi.export("flag", own.get_bool("flag"))
pulumi.export("list", own.require_object("list"))
pulumi.export("nested", own.get_secret_object("nested"))
pulumi.export("inner", own.require_secret_object("nested").apply(lambda v: v["inner"]))
pulumi.export("token", own.require_secret("token"))
pulumi.export("pin", own.require_secret_int("pin"))
pulumi.export("absent", own.get("absent"))
pulumi.export("absentSecret", own.get_secret("absent"))
pulumi.export("default", own.get("absent", "fallback"))
pulumi.export("colour", shop.require("colour"))
pulumi.export("fullName", own.full_key("count"))
pulumi.export(
    "wrong",
    {
        "int": failure(own.get_int, "plain"),
        "float": failure(own.get_float, "flag"),
        "bool": failure(own.get_bool, "count"),
        "object": failure(own.get_object, "plain"),
        "missing": failure(own.require, "absent"),
        "zero": failure(own.get_int, "zero"),
        "number string": failure(own.get, "zero"),
    },
)
