"""The testbed provider's types and functions, for the test programs."""

import pulumi
from pulumi import ResourceOptions

_OUTPUTS = ("value", "label", "patience", "computed", "token", "name", "reads")


class _Thing(pulumi.CustomResource):
    """Every input may be given; what may come out is an attribute."""

    kind = ""

    def __init__(self, resource_name, /, value=None, opts=None, **inputs):
        self.outputs = dict.fromkeys(_OUTPUTS)
        props = self.outputs | {"value": value} | inputs
        super().__init__(f"testbed:index:{self.kind}", resource_name, props, opts)

    @classmethod
    def get(cls, name, id, opts=None):
        """Reads what is there."""
        return cls(name, opts=ResourceOptions.merge(opts, ResourceOptions(id=id)))


class Simple(_Thing):
    """Its outputs are its inputs."""

    kind = "Simple"


class Named(_Thing):
    """Another `name` makes another one; with `deleteFirst` the old one goes first."""

    kind = "Named"


class Failing(_Thing):
    """Fails as `fails` says."""

    kind = "Failing"


class Computed(_Thing):
    """Its output `computed` is unknown in a preview."""

    kind = "Computed"


class Secretive(_Thing):
    """Its output `token` is a secret."""

    kind = "Secretive"


class Counter(_Thing):
    """Its output `reads` is how often it was read."""

    kind = "Counter"


class Slow(_Thing):
    """Takes `seconds` to be made; two at a time are noted."""

    kind = "Slow"


class Autonamed(_Thing):
    """A `name` that is not given is the one that the engine proposes; another one makes another."""

    kind = "Autonamed"


class Group(pulumi.ComponentResource):
    """A parent."""

    def __init__(self, name, opts=None, kind="Group"):
        super().__init__(f"testbed:index:{kind}", name, {}, opts)


class Provider(pulumi.ProviderResource):
    """An explicit provider; another `prefix` makes another one."""

    def __init__(self, name, opts=None, **config):
        super().__init__("testbed", name, config, opts)


def echo(opts=None, **args):
    """The arguments again, and the provider's prefix."""
    return pulumi.runtime.invoke_output("testbed:index:echo", args, opts)


def secret(opts=None, **args):
    """The argument `a` twice: `open`, and `hidden` as a secret of the provider's."""
    return pulumi.runtime.invoke_output("testbed:index:secret", args, opts)


def fail(opts=None, **args):
    """An error; with how="check" a refused argument."""
    return pulumi.runtime.invoke_output("testbed:index:fail", args, opts)
