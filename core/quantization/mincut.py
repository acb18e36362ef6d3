"""The cheapest way to cut a graph in two: minimum s-t cut by Dinic's algorithm."""

from __future__ import annotations

from collections import deque

# capacity of an edge that must not be cut
UNCUTTABLE = 1 << 60


class Network:
    """A directed graph with integer capacities between `SOURCE` and `SINK`.

    Capacities are integers so that the same network always has the same cut: sums of floats depend on their
    order. Dinic 1970, "Algorithm for solution of a problem of maximum flow in networks with power
    estimation"; O(nodes² · edges) at worst.
    """

    SOURCE = 0
    SINK = 1

    def __init__(self) -> None:
        self._heads: list[int] = []
        self._rooms: list[int] = []
        self._edges: list[list[int]] = [[], []]

    def node(self) -> int:
        """Add a node and return its number."""
        self._edges.append([])
        return len(self._edges) - 1

    def edge(self, tail: int, head: int, capacity: int) -> None:
        """Add an edge that costs `capacity` where `tail` falls to the source and `head` to the sink."""
        for end, start, room in ((head, tail, capacity), (tail, head, 0)):
            self._edges[start].append(len(self._heads))
            self._heads.append(end)
            self._rooms.append(room)

    def cut(self) -> tuple[int, set[int]]:
        """Return the cost of the cheapest cut and the nodes on the source's side.

        Of several cheapest cuts it is the one with the fewest nodes at the source.
        """
        flow = 0
        while self.SINK in (levels := self._levels()):
            nexts = [0] * len(self._edges)
            while pushed := self._push(levels, nexts):
                flow += pushed
        return flow, set(levels)

    def _levels(self) -> dict[int, int]:
        """Return the distance from the source of every node that can still be reached."""
        levels, queue = {self.SOURCE: 0}, deque([self.SOURCE])
        while queue:
            node = queue.popleft()
            for edge in self._edges[node]:
                head = self._heads[edge]
                if self._rooms[edge] and head not in levels:
                    levels[head] = levels[node] + 1
                    queue.append(head)
        return levels

    def _push(self, levels: dict[int, int], nexts: list[int]) -> int:
        """Send flow along one shortest path and return how much; 0 if none is left."""
        path: list[int] = []
        node = self.SOURCE
        while node != self.SINK:
            edge = self._advance(node, levels, nexts)
            if edge is not None:
                path.append(edge)
                node = self._heads[edge]
            elif not path:
                return 0
            else:  # a dead end: do not enter it again
                node = self._heads[path.pop() ^ 1]
                nexts[node] += 1
        amount = min(self._rooms[edge] for edge in path)
        for edge in path:
            self._rooms[edge] -= amount
            self._rooms[edge ^ 1] += amount
        return amount

    def _advance(self, node: int, levels: dict[int, int], nexts: list[int]) -> int | None:
        edges = self._edges[node]
        while nexts[node] < len(edges):
            edge = edges[nexts[node]]
            if self._rooms[edge] and levels.get(self._heads[edge]) == levels[node] + 1:
                return edge
            nexts[node] += 1
        return None
