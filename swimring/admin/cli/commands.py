"""The commands: what each is called, where it is, and what the list of them says.

A command is a function; its signature says its options. It is imported when it is typed: the answer of `swimring
lookup` waits for no import of Trio, and `swimring run` needs no client.
"""

from __future__ import annotations

from importlib import metadata
from typing import Final

from cyclopts import App

from .sources import sources


def _version() -> str:
    try:
        return metadata.version("swimring")
    except metadata.PackageNotFoundError:
        return "not installed"  # run from a checkout


app = App(
    name="swimring",
    help="Turn a few Python processes into one autonomous, sharded service.",
    help_epilogue="Options that say how a node runs or how to reach one are also read from the environment, --join as "
    "SWIMRING_JOIN, and from swimring.toml, as join: see `swimring config show --origin`.",
    version=_version,
    config=(sources,),
)
keys = App(name="keys", help="Show and change the keys of a cluster with a secret, on all its nodes.")
config = App(name="config", help="Show and check the settings that a node would run with here.")
app.command(keys)
app.command(config)

_COMMANDS: Final = (
    (
        app,
        {
            "run": (
                "running:run",
                "Run one node until Ctrl-C or SIGTERM, which leave gracefully; a second one does not wait.",
            ),
            "dev": (
                "developing:dev",
                "Run several nodes on this machine, a process each, with keys to kill, drain, freeze, heal "
                "and add them.",
            ),
            "members": (
                "asking:members",
                "Show the members of the cluster, as the node that answers believes them to be.",
            ),
            "ring": ("watching:ring", "Draw the ring of a service: the share of each node, and the circle unrolled."),
            "tail": (
                "watching:tail",
                "Print what happens in the cluster as it happens, until Ctrl-C: who comes, is doubted, dies, "
                "leaves, drains.",
            ),
            "top": (
                "watching:top",
                "Show what each handler did on all nodes in the last minute: calls a second, p50, p99, errors.",
            ),
            "lookup": ("asking:lookup", "Show which node owns a key, and which would hold its replicas."),
            "trace": (
                "tracing:trace",
                "Show the calls for a key on the node that owns it, as they end, with what they took.",
            ),
            "call": (
                "asking:call",
                "Call a handler and print what it returns, or what it yields, line by line. Ctrl-C cancels it.",
            ),
            "drain": (
                "operating:drain",
                "Have a node hand over its keys and leave; follow how far it is. It ends with status 0.",
            ),
            "cordon": (
                "operating:cordon",
                "Have a node take no keys, and stay. Undone by uncordon, or by its restart.",
            ),
            "uncordon": ("operating:uncordon", "Have a cordoned node take keys again."),
            "evict": (
                "operating:evict",
                "Declare a node dead that is there and cannot serve; its process stops when it hears of it.",
            ),
            "schema": (
                "describing:schema",
                "Show what the handlers of a service take and return; with --json as JSON Schemas. No node is needed.",
            ),
            "doctor": (
                "doctoring:doctor",
                "Look for what keeps nodes apart: names, ports, datagrams, clocks, secrets; say what each "
                "means and what to do.",
            ),
            "bench": (
                "benching:bench",
                "Call a handler again and again, as fast as it answers or at a rate; show rate, latencies and errors.",
            ),
            "new": ("starting:new", "Write a folder with a service to start from, and tests of it that pass."),
            "sim": (
                "sweeping:sim",
                "Run the tests that take `cluster` under many schedules; say the lowest seed that fails, and "
                "how to replay it.",
            ),
            "completion": (
                "completing:completion",
                "Print what teaches bash, zsh or fish the commands, their options and names of nodes; or install it.",
            ),
            "demo": (
                "demonstrating:demo",
                "Count the words of Python's standard library on three processes, and kill one of them half way.",
            ),
        },
    ),
    (
        keys,
        {
            "list": ("rotating:list_keys", "Show which keys each node has, the primary one first."),
            "add": ("rotating:add", "Install a new key on every node: step 1 of 3. Nothing is sealed with it yet."),
            "use": ("rotating:use", "Seal with another key on every node: step 2 of 3."),
            "remove": (
                "rotating:remove",
                "Remove a key from every node: step 3 of 3. Who has no other key is refused from then on.",
            ),
        },
    ),
    (
        config,
        {
            "show": (
                "configuring:show",
                "Show every setting of `swimring run` in this folder; those of a secret are never shown.",
            ),
            "check": (
                "configuring:check",
                "Check that a node would start with the settings of this folder, as far as that can be known "
                "without starting it.",
            ),
        },
    ),
)

for _group, _members in _COMMANDS:
    for _name, (_place, _says) in _members.items():
        _group.command(f"{__package__}.{_place}", name=_name, help=_says)
