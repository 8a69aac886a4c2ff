"""A deployment as a graph in the DOT language.

Owns: the text. Promises: sorted by URN, so the same state gives the same text. Never: lays out.
"""

from __future__ import annotations

from dataclasses import dataclass

from tickover.engine.state import Deployment
from tickover.engine.urn import parse_urn


@dataclass(frozen=True, slots=True)
class GraphStyle:
    """fragment: DOT text put before the nodes."""

    short_names: bool = False
    parents: bool = True
    dependencies: bool = True
    parent_color: str = "#AA6639"
    dependency_color: str = "#246C60"
    fragment: str = ""


def dot(deployment: Deployment, style: GraphStyle) -> str:
    """Edges go from what is needed to what needs it, with the properties that do, and from child to
    parent."""
    resources = {r.urn: r for r in deployment.resources}
    ids = {urn: f"Resource{index}" for index, urn in enumerate(sorted(resources))}
    lines = ["strict digraph {", *([style.fragment] if style.fragment else [])]
    for urn, node in ids.items():
        label = parse_urn(urn).name if style.short_names else urn
        lines.append(f'    {node} [label="{_escaped(label)}"];')
    for urn, node in ids.items():
        resource = resources[urn]
        for needed in sorted(set(resource.dependencies)) if style.dependencies else ():
            blame = [k for k, urns in sorted(resource.property_dependencies.items()) if needed in urns]
            label = f', label = "{_escaped(", ".join(blame))}"' if blame else ""
            lines.append(f'    {ids[needed]} -> {node} [color = "{style.dependency_color}"{label}];')
        if style.parents and resource.parent:
            lines.append(f'    {node} -> {ids[resource.parent]} [color = "{style.parent_color}"];')
    return "\n".join((*lines, "}")) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
