"""Combines the outputs of two resources."""

import asyncio

import pulumi

Output = pulumi.Output
one = pulumi.Stash("one", input={"name": "ada", "list": ["x", "y"], "n": 3})
two = pulumi.Stash("two", input=Output.secret("hush"))
late, resolve = pulumi.deferred_output()


async def slow():
    await asyncio.sleep(0.01)
    return {"later": one.output["name"]}


pulumi.export("all", Output.all(one.output["name"], 2, [one.output["n"]]))
pulumi.export("named", Output.all(a=one.output["n"], b="plain"))
pulumi.export("mixed", Output.all(one.output["n"], two.output))
pulumi.export("concat", Output.concat("hello ", one.output["name"], "!", one.output["n"].apply(str)))
pulumi.export("format", Output.format("{0} {who} {1[0]}", 1, one.output["list"], who=one.output["name"]))
pulumi.export("json", Output.json_dumps({"z": one.output["n"], "a": [two.output]}))
pulumi.export("loads", Output.json_loads(Output.from_input('{"k": [1, null]}')))
pulumi.export("nested", one.output.apply(lambda v: Output.from_input(v["n"]).apply(lambda n: n + 1)))
pulumi.export("index", one.output["list"][1])
pulumi.export("isSecret", Output.from_input(two.output.is_secret()))
pulumi.export("unsecret", Output.unsecret(two.output))
pulumi.export("resecret", Output.secret(one.output["n"]))
pulumi.export("task", slow())
pulumi.export("coroutines", [slow(), Output.from_input(slow())])
pulumi.export("deferred", late)
pulumi.Stash("dependent", input=[late, two.output.apply(len), slow()])
resolve(one.output["name"].apply(str.upper))
