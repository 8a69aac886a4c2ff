"""Redirects a lookup."""

import pulumi

known = pulumi.Stash("known", input="right")
other = pulumi.Stash("other", input="wrong")


def redirect(args):
    """Asks for the other one."""
    if args.token != "pulumi:pulumi:getResource":
        return None
    urn = args.args["urn"].replace("::other", "::known")
    return pulumi.InvokeTransformResult({"urn": urn}, args.opts)


pulumi.runtime.register_invoke_transform(redirect)
found = pulumi.runtime.invoke_output(
    "pulumi:pulumi:getResource", {"urn": other.urn}, pulumi.InvokeOutputOptions(depends_on=[known])
)
pulumi.export("found", found["state"]["output"])
