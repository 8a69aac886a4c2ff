"""The package `tools`: a component with methods, and functions, over the SDK's plain provider class."""

import sys

import pulumi
from pulumi.provider import main
from pulumi.provider.provider import CallResult, CheckFailure, ConstructResult, InvokeResult, Provider


class Bench(pulumi.ComponentResource):
    """Takes another resource and anything else."""

    def __init__(self, name, inputs, opts=None):
        super().__init__("tools:index:Bench", name, {}, opts)
        under = pulumi.ResourceOptions(parent=self)
        self.plain = pulumi.Stash(f"{name}-plain", input=inputs.get("value"), opts=under)
        self.told = pulumi.Output.concat("told: ", pulumi.Output.from_input(inputs.get("value")).apply(str))
        self.register_outputs({"told": self.told})


class Tools(Provider):
    """Constructs benches, calls their methods, answers functions."""

    def __init__(self):
        super().__init__("0.5.0")

    def construct(self, name, resource_type, inputs, options=None):
        """A bench, and what of its inputs is an output, a resource or plain."""
        bench = Bench(name, inputs, options)
        kinds = {key: kind(value) for key, value in sorted(inputs.items())}
        return ConstructResult(bench.urn, {"told": bench.told, "kinds": kinds, "plain": bench.plain})

    def call(self, token, args):
        """The methods of a bench."""
        me = args.get("__self__")
        if token == "tools:index:Bench/greet":
            return CallResult({"greeting": pulumi.Output.concat("hello ", args["who"], " at ", me)})
        if token == "tools:index:Bench/hide":
            return CallResult({"hidden": pulumi.Output.secret(args["who"]), "open": 1})
        if token == "tools:index:Bench/refuse":
            return CallResult({}, [CheckFailure("who", "may not be named"), CheckFailure("x", "second")])
        if token == "tools:index:Bench/crash":
            raise RuntimeError("the method crashed")
        raise NotImplementedError(token)

    def invoke(self, token, args):
        """Functions."""
        if token == "tools:index:add":
            return InvokeResult({"sum": args["a"] + args["b"]})
        if token == "tools:index:refuse":
            return InvokeResult({}, [CheckFailure("a", "is wrong")])
        raise NotImplementedError(token)


def kind(value):
    """What a provider sees of an input."""
    if isinstance(value, pulumi.Output):
        return "output"
    if isinstance(value, pulumi.Resource):
        return "resource"
    if isinstance(value, dict):
        return {key: kind(inner) for key, inner in sorted(value.items())}
    return [kind(inner) for inner in value] if isinstance(value, list) else type(value).__name__


if __name__ == "__main__":
    main(Tools(), sys.argv[1:])
