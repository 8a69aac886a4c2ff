"""Values of size."""

import pulumi

deep = "end"
for level in range(60):
    deep = {str(level): [deep]}
many = {f"key-{number:04}": {"n": number, "t": "x" * 20} for number in range(2000)}
pulumi.Stash("many", input=many)
pulumi.Stash("deep", input=deep)
pulumi.Stash("long", input="a" * 500_000)
pulumi.Stash("secret", input=pulumi.Output.secret("a" * 200_000))
pulumi.export("list", list(range(3000)))
pulumi.export("text", 'a\u2028\n\t"\\' * 1000)
