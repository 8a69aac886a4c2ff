"""Reads the stack base in every way."""

import pulumi

base = pulumi.StackReference(f"organization/{pulumi.get_project()}/base")
named = pulumi.StackReference("short", stack_name=f"organization/{pulumi.get_project()}/base")
pulumi.export("open", base.require_output("open"))
pulumi.export("closed", base.get_output("closed"))
pulumi.export("partly", base.get_output("partly"))
pulumi.export("absent", base.get_output("absent"))
pulumi.export("names", base.secret_output_names)
pulumi.export("same", named.get_output("open"))
pulumi.Stash("copy", input=base.get_output("open"))


async def main():
    details = await base.get_output_details("closed")
    pulumi.export("details", [details.value, details.secret_value is not None])


pulumi.run(main)
