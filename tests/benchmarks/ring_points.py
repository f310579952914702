"""How even a ring is, and what it costs, by the number of points per node: the table of docs/concepts/ring.md.

Run it from the root of the repository: ``python -m tests.benchmarks.ring_points``. It takes half a minute; the
shares are exact (lengths on the circle, no sampled keys) and the same on every machine, the times are of yours.
"""

# ruff: noqa: T201 - a program prints
from __future__ import annotations

import timeit
from statistics import mean

from swimring.ring import HashRing, ring_seed

POINTS = (16, 32, 64, 128, 256, 512, 1024)
NODES = (3, 5, 10, 30, 100)
CLUSTERS = 20
"""Rings of different clusters whose imbalance is averaged."""


def ring(nodes: int, points: int, cluster: int = 0) -> HashRing:
    return HashRing.build({f"n{number}": 1 for number in range(nodes)}, seed=ring_seed(f"c{cluster}"), points=points)


def imbalances(nodes: int, points: int) -> list[float]:
    return [max(ring(nodes, points, cluster).share().values()) * nodes for cluster in range(CLUSTERS)]


def best(seconds: list[float], runs: int) -> float:
    return min(seconds) / runs


def main() -> None:
    print(f"largest share / mean share: mean (worst) of {CLUSTERS} clusters\n")
    print("| points | " + " | ".join(f"{nodes} nodes" for nodes in NODES) + " |")
    print("|---:" * (len(NODES) + 1) + "|")
    for points in POINTS:
        measured = [imbalances(nodes, points) for nodes in NODES]
        print(f"| {points} | " + " | ".join(f"{mean(found):.2f} ({max(found):.2f})" for found in measured) + " |")
    print("\n| nodes x points | build, ms | one node joins, ms | one node leaves, ms | lookup, us | owners of 3, us |")
    print("|---:|---:|---:|---:|---:|---:|")
    for nodes, points in ((3, 128), (10, 128), (100, 16), (100, 128), (100, 1024), (1000, 128)):
        print_times(nodes, points)


def print_times(nodes: int, points: int) -> None:
    built = ring(nodes, points)
    joined = built.with_node("one more")
    keys = [f"key-{number}" for number in range(1000)]
    build = best(timeit.repeat(lambda: ring(nodes, points), number=1, repeat=3), 1)
    join = best(timeit.repeat(lambda: built.with_node("one more"), number=3, repeat=5), 3)
    leave = best(timeit.repeat(lambda: joined.without_node("one more"), number=3, repeat=5), 3)
    lookup = best(timeit.repeat(lambda: [built.lookup(key) for key in keys], number=10, repeat=5), 10_000)
    owners = best(timeit.repeat(lambda: [built.owners(key, 3) for key in keys], number=3, repeat=5), 3_000)
    print(
        f"| {nodes} x {points} | {build * 1e3:.2f} | {join * 1e3:.2f} | {leave * 1e3:.2f} "
        f"| {lookup * 1e6:.2f} | {owners * 1e6:.2f} |"
    )


if __name__ == "__main__":
    main()
