"""Invokes in each form."""

import pulumi
from pulumi.runtime import invoke_async, invoke_output

number = pulumi.Stash("number", input=40)
secret = pulumi.Output.secret(1)
own = pulumi.ProviderResource("tools", "own", {"setting": "x"})
pulumi.export("plain", invoke_output("tools:index:add", {"a": 1, "b": 2}))
pulumi.export("late", invoke_output("tools:index:add", {"a": number.output, "b": 2})["sum"])
pulumi.export("secret", invoke_output("tools:index:add", {"a": secret, "b": 2}))
pulumi.export(
    "own", invoke_output("tools:index:add", {"a": 5, "b": 2}, pulumi.InvokeOutputOptions(provider=own))
)
pulumi.export(
    "after",
    invoke_output("tools:index:add", {"a": 7, "b": 2}, pulumi.InvokeOutputOptions(depends_on=[number])),
)


async def main():
    plain = await invoke_async("tools:index:add", {"a": 20, "b": 1})
    return {"awaited": plain["sum"]}


pulumi.run(main)
