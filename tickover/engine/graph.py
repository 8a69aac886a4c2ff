"""Orders over resources. The only place that knows networkx.

Owns: which resource must go before which, and a parallel walk in that order. Promises: everything is
sorted, so two runs do the same. Never: calls a provider.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from tickover.engine.integrity import references
from tickover.engine.state import ResourceState

if TYPE_CHECKING:
    import networkx as nx

    Graph = nx.DiGraph[int]


def delete_order(resources: Sequence[ResourceState]) -> Graph:
    """Indices of resources; an edge a → b says that a is deleted before b (a needs b)."""
    import networkx as nx  # here, as it takes long to load and most runs delete nothing

    graph: Graph = nx.DiGraph()
    homes: dict[str, list[int]] = {}
    for index, resource in enumerate(resources):
        graph.add_node(index)
        homes.setdefault(resource.urn, []).append(index)
    providers = {f"{r.urn}::{r.id}": i for i, r in enumerate(resources)}
    for index, resource in enumerate(resources):
        needed = [i for urn in references(resource) for i in homes.get(urn, ())]
        if resource.provider in providers:
            needed.append(providers[resource.provider])
        graph.add_edges_from((index, i) for i in needed if i != index)
    return _without_cycles(graph, resources)


def _without_cycles(graph: Graph, resources: Sequence[ResourceState]) -> Graph:
    """A URN with a live and a doomed entry can look needed both ways round. What is live needs what is live;
    if that is not enough, the order of the state decides."""
    import networkx as nx

    if nx.is_directed_acyclic_graph(graph):
        return graph
    graph.remove_edges_from(
        [(a, b) for a, b in graph.edges if resources[b].delete and not resources[a].delete]
    )
    if not nx.is_directed_acyclic_graph(graph):
        graph.remove_edges_from([(a, b) for a, b in graph.edges if a < b])
    return graph


def dependants(resources: Sequence[ResourceState], urn: str) -> tuple[str, ...]:
    """URNs of all that needs urn, directly or not, nearest first, as their order in the state allows."""
    found = {urn}
    order: list[str] = []
    for resource in resources:  # a state lists what is needed before what needs it
        if resource.urn not in found and found.intersection(references(resource)):
            found.add(resource.urn)
            order.append(resource.urn)
    return tuple(order)


def in_delete_order(resources: Sequence[ResourceState]) -> tuple[ResourceState, ...]:
    """resources, each before what it needs; ties by reverse position."""
    if not resources:
        return ()
    import networkx as nx

    graph = delete_order(resources)
    order = nx.lexicographical_topological_sort(graph, key=lambda index: -index)
    return tuple(resources[i] for i in order)


async def walk(graph: Graph, act: Callable[[int], Awaitable[bool]], parallel: int) -> None:
    """act on each node once everything before it is done; what follows a failed node (False) is left out."""
    limit = asyncio.Semaphore(max(parallel, 1))
    waiting = {node: graph.in_degree(node) for node in graph}
    running: dict[asyncio.Task[bool], int] = {}

    async def limited(node: int) -> bool:
        async with limit:
            return await act(node)

    def start(nodes: Iterable[int]) -> None:
        for node in sorted(nodes, reverse=True):
            running[asyncio.create_task(limited(node))] = node

    start(node for node, count in waiting.items() if count == 0)
    try:
        while running:
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            freed: list[int] = []
            for task in done:
                node = running.pop(task)
                if not task.result():
                    continue
                for follower in graph.successors(node):
                    waiting[follower] -= 1
                    if waiting[follower] == 0:
                        freed.append(follower)
            start(freed)
    finally:
        for task in running:
            task.cancel()
