"""The pack: constructing it serves it until the engine ends it, so nothing else may live here."""

from adapter import as_policy
from pulumi_policy import EnforcementLevel, PolicyPack
from rules import RULES, Resource

PolicyPack(
    name="tickover",
    enforcement_level=EnforcementLevel.ADVISORY,
    policies=[as_policy(rule, Resource) for rule in RULES],
)
