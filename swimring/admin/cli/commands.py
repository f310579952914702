"""The commands and their options; what they do is in the modules they call."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated

from cyclopts import App, Parameter

from swimring.admin.loading import load_services

from .access import ANY, Access
from .node_options import LOOPBACK, QUIETLY, NodeOptions, WatchOptions
from .sources import Sources


def _version() -> str:
    try:
        return metadata.version("swimring")
    except metadata.PackageNotFoundError:
        return "not installed"  # run from a checkout


sources = Sources()
app = App(
    name="swimring",
    help="Turn a few Python processes into one autonomous, sharded service.",
    help_epilogue="Options that say how a node runs or how to reach one are also read from the environment, --join as "
    "SWIMRING_JOIN, and from swimring.toml, as join: see `swimring config show --origin`.",
    version=_version,
    config=(sources,),
)

app.register_install_completion_command()

# What the commands call is imported by those that do: the answer of `swimring lookup` waits for no import of Trio,
# and `swimring run` needs no client.

KeyDigits = Annotated[str, Parameter(help="Its 8 digits, as `swimring keys list` shows them.")]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON for programs instead of a table.")]


@app.command
def run(
    target: str,
    /,
    *,
    options: NodeOptions = LOOPBACK,
    watching: WatchOptions = QUIETLY,
    supervised: Annotated[bool, Parameter(show=False, negative="")] = False,
) -> int:
    """Run one node until Ctrl-C or SIGTERM, which leave gracefully; a second one does not wait.

    Parameters
    ----------
    target:
        What to run, MODULE:NAME or FILE.py:NAME, such as hello:app.
    supervised:
        Its stdin is a socket of the process that owns it: see `swimring.admin.fleet`.
    """
    from . import running  # noqa: PLC0415 - see above

    if options.workers != 1:
        from . import supervising  # noqa: PLC0415 - see above

        return supervising.supervise(target, sources, workers=options.workers)
    return running.run(load_services(target), watching, sources, supervised=supervised, **options.settings())


@app.command
def dev(
    target: str,
    /,
    *,
    nodes: Annotated[int, Parameter(name=("--nodes", "-n"))] = 3,
    cluster: str | None = None,
    reload: Annotated[bool, Parameter(negative="")] = False,
    log_level: str = "info",
) -> int:
    """Run several nodes on this machine, a process each, with keys to kill, drain, freeze, heal and add them.

    Parameters
    ----------
    target:
        What to run, MODULE:NAME or FILE.py:NAME, such as hello:app.
    nodes:
        How many.
    cluster:
        The name of their cluster. Default: the name of the service.
    reload:
        When a Python file beside the target, or below this folder, changes, drain and restart a node at a time.
    log_level:
        What they log: debug, info, warning or error.
    """
    from . import developing  # noqa: PLC0415 - see above

    return developing.dev(target, nodes=nodes, cluster=cluster, reload=reload, log_level=log_level)


@app.command
def members(
    *,
    watch: Annotated[bool, Parameter(negative="")] = False,
    access: Access = ANY,
    as_json: AsJson = False,
) -> None:
    """Show the members of the cluster, as the node that answers believes them to be.

    Parameters
    ----------
    watch:
        Show them again whenever one changes, until Ctrl-C.
    """
    from . import asking, watching  # noqa: PLC0415 - see above

    (watching.watch_members if watch else asking.members)(access=access, as_json=as_json)


@app.command
def ring(service: str | None = None, /, *, access: Access = ANY, as_json: AsJson = False) -> None:
    """Draw the ring of a service: the share of each node, and the circle unrolled.

    Parameters
    ----------
    service:
        The service. Default: the only one there is.
    """
    from . import watching  # noqa: PLC0415 - see above

    watching.ring(service, access=access, as_json=as_json)


@app.command
def tail(*, access: Access = ANY, as_json: AsJson = False) -> None:
    """Print what happens in the cluster as it happens, until Ctrl-C: who comes, is doubted, dies, leaves, drains."""
    from . import watching  # noqa: PLC0415 - see above

    watching.tail(access=access, as_json=as_json)


@app.command
def top(
    *,
    sort: str = "rate",
    every: float = 2.0,
    once: Annotated[bool, Parameter(negative="")] = False,
    access: Access = ANY,
    as_json: AsJson = False,
) -> None:
    """Show what each handler did on all nodes in the last minute: calls a second, p50, p99, errors.

    Parameters
    ----------
    sort:
        By rate, p99 or errors.
    every:
        Seconds between two looks.
    once:
        Look once.
    """
    from . import watching  # noqa: PLC0415 - see above

    watching.top(sort=sort, every=every, once=once, access=access, as_json=as_json)


@app.command
def lookup(
    key: str,
    /,
    *,
    service: str | None = None,
    replicas: int = 1,
    access: Access = ANY,
    as_json: AsJson = False,
) -> None:
    """Show which node owns a key, and which would hold its replicas.

    Parameters
    ----------
    key:
        The key.
    service:
        The service whose ring to look in. Default: the only one there is.
    replicas:
        How many replicas to show.
    """
    from . import asking  # noqa: PLC0415 - see above

    asking.lookup(
        key,
        service=service,
        replicas=replicas,
        access=access,
        as_json=as_json,
    )


@app.command
def trace(
    key: str,
    /,
    *,
    duration: Annotated[str, Parameter(name="--for", help="How long, such as 30s or 2m.")] = "30s",
    service: str | None = None,
    access: Access = ANY,
    as_json: AsJson = False,
) -> None:
    """Show the calls for a key on the node that owns it, as they end, with what they took.

    Parameters
    ----------
    key:
        The key.
    service:
        The service whose key it is. Default: the only one there is.
    """
    from . import tracing  # noqa: PLC0415 - see above

    seconds = tracing.read_seconds(duration)
    tracing.trace(key, service=service, seconds=seconds, access=access, as_json=as_json)


@app.command
def call(
    service: str,
    cmd: str,
    /,
    *fields: str,
    key: str | None = None,
    file: Annotated[tuple[str, ...], Parameter(negative="", allow_leading_hyphen=True)] = (),
    idempotent: Annotated[bool, Parameter(negative="")] = False,
    access: Access = ANY,
    as_json: AsJson = False,
) -> None:
    """Call a handler and print what it returns, or what it yields, line by line. Ctrl-C cancels it.

    Parameters
    ----------
    service:
        The service, such as hello.
    cmd:
        The handler, such as greet.
    fields:
        The arguments as NAME=VALUE; a VALUE is read as JSON where it is JSON, else as text.
    key:
        The key whose owner shall answer. Default: any node that offers the service.
    file:
        NAME=PATH sends a file as the byte stream NAME; PATH alone sends its lines, each of JSON, as items to a handler
        with a channel. A path of - is stdin. May be repeated.
    idempotent:
        Repeat the call if an answer is lost, although it may have run.
    """
    from . import asking  # noqa: PLC0415 - see above

    asking.call(
        service,
        cmd,
        fields,
        key=key,
        files=file,
        idempotent=idempotent,
        access=access,
        as_json=as_json,
    )


@app.command
def drain(node: str, /, *, access: Access = ANY, as_json: AsJson = False) -> None:
    """Have a node hand over its keys and leave; follow how far it is. It ends with status 0.

    Parameters
    ----------
    node:
        Its name, as `swimring members` shows it.
    """
    from . import operating  # noqa: PLC0415 - see above

    operating.drain(node, access=access, as_json=as_json)


@app.command
def cordon(node: str, /, *, access: Access = ANY, as_json: AsJson = False) -> None:
    """Have a node take no keys, and stay. Undone by uncordon, or by its restart.

    Parameters
    ----------
    node:
        Its name, as `swimring members` shows it.
    """
    from . import operating  # noqa: PLC0415 - see above

    operating.cordon(node, access=access, as_json=as_json)


@app.command
def uncordon(node: str, /, *, access: Access = ANY, as_json: AsJson = False) -> None:
    """Have a cordoned node take keys again.

    Parameters
    ----------
    node:
        Its name, as `swimring members` shows it.
    """
    from . import operating  # noqa: PLC0415 - see above

    operating.uncordon(node, access=access, as_json=as_json)


@app.command
def evict(node: str, /, *, access: Access = ANY, as_json: AsJson = False) -> None:
    """Declare a node dead that is there and cannot serve; its process stops when it hears of it.

    Parameters
    ----------
    node:
        Its name, as `swimring members` shows it.
    """
    from . import operating  # noqa: PLC0415 - see above

    operating.evict(node, access=access, as_json=as_json)


@app.command
def schema(target: str, /, *, as_json: AsJson = False) -> None:
    """Show what the handlers of a service take and return; with --json as JSON Schemas. No node is needed.

    Parameters
    ----------
    target:
        The service, MODULE:NAME or FILE.py:NAME, such as hello:app.
    """
    from . import describing  # noqa: PLC0415 - see above

    describing.schema(load_services(target), as_json=as_json)


@app.command
def doctor(*, access: Access = ANY, as_json: AsJson = False) -> int:
    """Look for what keeps nodes apart: names, ports, datagrams, clocks, secrets; say what each means and what to do."""
    from . import doctoring  # noqa: PLC0415 - see above

    return doctoring.doctor(access=access, as_json=as_json)


@app.command
def new(name: str, /, *, template: str = "hello", as_json: AsJson = False) -> None:
    """Write a folder with a service to start from, and tests of it that pass.

    Parameters
    ----------
    name:
        The folder; its last part is the name of the service.
    template:
        hello, kv or chat.
    """
    from . import starting  # noqa: PLC0415 - see above

    starting.new(name, template=template, as_json=as_json)


@app.command
def sim(*tests: str, seeds: int = 100, first: int = 0, processes: int | None = None) -> int:
    """Run the tests that take `cluster` under many schedules; say the lowest seed that fails, and how to replay it.

    Parameters
    ----------
    tests:
        Files, folders or options for pytest after --. Default: those of this folder.
    seeds:
        How many.
    first:
        The first of them.
    processes:
        How many at once. Default: one for each processor.
    """
    from . import sweeping  # noqa: PLC0415 - see above

    return sweeping.sweep(tests, seeds=seeds, first=first, processes=processes)


@app.command
def demo(
    *,
    files: int | None = None,
    keep_running: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Count the words of Python's standard library on three processes, and kill one of them half way.

    Parameters
    ----------
    files:
        Count only this many files. Default: all of them.
    keep_running:
        Leave the ring up when done, until Ctrl-C, and say what to type next.
    """
    from swimring.admin.demo import run_demo  # noqa: PLC0415 - see above

    return run_demo(files=files, keep_running=keep_running)


keys = App(name="keys", help="Show and change the keys of a cluster with a secret, on all its nodes.")
app.command(keys)


@keys.command(name="list")
def list_keys(*, access: Access = ANY) -> int:
    """Show which keys each node has, the primary one first."""
    return _change_keys("keys", {}, access)


@keys.command
def add(new: str, /, *, access: Access = ANY) -> int:
    """Install a new key on every node: step 1 of 3. Nothing is sealed with it yet.

    Parameters
    ----------
    new:
        The file with the new key in its first line.
    """
    return _change_keys("add key", {"file": new}, access)


@keys.command
def use(key: KeyDigits, /, *, access: Access = ANY) -> int:
    """Seal with another key on every node: step 2 of 3."""
    return _change_keys("use key", {"identity": key}, access)


@keys.command
def remove(key: KeyDigits, /, *, access: Access = ANY) -> int:
    """Remove a key from every node: step 3 of 3. Who has no other key is refused from then on."""
    return _change_keys("remove key", {"identity": key}, access)


def _change_keys(cmd: str, fields: dict[str, str], access: Access) -> int:
    from . import rotating  # noqa: PLC0415 - see above

    return rotating.ask_all(cmd, fields, access)


config = App(name="config", help="Show and check the settings that a node would run with here.")
app.command(config)


@config.command(name="show")
def show_config(
    *,
    options: NodeOptions = LOOPBACK,
    watching: WatchOptions = QUIETLY,
    origin: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
) -> None:
    """Show every setting of `swimring run` in this folder; those of a secret are never shown.

    Parameters
    ----------
    origin:
        Say where each comes from: a flag, the environment, a file, or nowhere.
    """
    from . import configuring  # noqa: PLC0415 - see above

    del options, watching  # what was said is in the sources, with its origin
    configuring.show(sources, origin=origin, as_json=as_json)


@config.command(name="check")
def check_config(
    target: str | None = None,
    /,
    *,
    options: NodeOptions = LOOPBACK,
    watching: WatchOptions = QUIETLY,
) -> None:
    """Check that a node would start with the settings of this folder, as far as that can be known without starting it.

    Parameters
    ----------
    target:
        What would run, MODULE:NAME or FILE.py:NAME. Default: only the settings are checked.
    """
    from . import configuring  # noqa: PLC0415 - see above

    configuring.check(() if target is None else load_services(target), sources, watching, options.settings())
