"""The admin port of a real process, asked as a monitor asks."""

from __future__ import annotations

import json
import signal
import zipfile
from pathlib import Path, PurePath

import h11
import pytest
import trio
from hatchling.builders.wheel import WheelBuilder
from prometheus_client.parser import text_string_to_metric_families

from .processes import running
from .test_run import HELLO


async def get(url: str, path: str) -> tuple[int, bytes]:
    """One request over a connection of its own."""
    host, _, port = url.removeprefix("http://").rstrip("/").rpartition(":")
    http, body = h11.Connection(h11.CLIENT), b""
    request = h11.Request(method="GET", target=path, headers=[("Host", f"{host}:{port}"), ("Connection", "close")])
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
        status = 0
        while not isinstance(found := http.next_event(), h11.EndOfMessage):
            if found is h11.NEED_DATA:
                http.receive_data(bytes(await stream.receive_some(65_536)))
            elif isinstance(found, h11.Response):
                status = found.status_code
            elif isinstance(found, h11.Data):
                body += found.data
    return status, body


async def test_a_node_says_where_it_can_be_watched_and_answers_probes_and_monitors(tmp_path: Path) -> None:
    cluster = f"admin-{tmp_path.name}"
    with trio.fail_after(60):
        async with running(HELLO, "--cluster", cluster, "--join", "127.0.0.1:1", "--admin", "127.0.0.1:0") as node:
            url = (await node.wait_said("can be watched at")).split()[-1]
            assert [(await get(url, path))[0] for path in ("/livez", "/startupz", "/readyz")] == [200, 200, 200]
            status, text = await get(url, "/metrics")
            families = {family.name: family for family in text_string_to_metric_families(text.decode())}
            assert status == 200
            assert families["swimring_members"].samples[0].value == 1
            assert json.loads((await get(url, "/api/node"))[1])["cluster"] == cluster
            node.signal(signal.SIGTERM)
            assert await node.wait_ended() == 0


async def test_the_log_of_a_node_that_nobody_watches_is_json(tmp_path: Path) -> None:
    options = ("--cluster", f"log-{tmp_path.name}", "--join", "127.0.0.1:1", "--admin", "off")
    with trio.fail_after(60):
        async with running(HELLO, *options) as node:
            line = json.loads(await node.wait_said("nobody of cluster"))
            assert (line["level"], line["logger"]) == ("warning", "swimring.node")
            assert line["cluster"] == f"log-{tmp_path.name}"
            name = (await node.wait_said(" in cluster ")).split()[0]
            node.signal(signal.SIGTERM)
            assert json.loads(await node.wait_said("node.leaving"))["node"] == name
            assert "can be watched" not in node.said


@pytest.mark.parametrize(("where", "text"), [("nonsense:x", "admin"), ("192.0.2.1:0", "annot assign")])
async def test_an_admin_address_that_cannot_be_is_one_line_of_error(where: str, text: str, tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with running(HELLO, "--cluster", f"bad-{tmp_path.name}", "--admin", where) as node:
            assert await node.wait_ended() == 2
    assert text in node.said
    assert "Traceback" not in node.said


async def test_a_node_that_shall_take_orders_without_a_token_does_not_start(tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with running(HELLO, "--cluster", f"bare-{tmp_path.name}", "--admin-write") as node:
            assert await node.wait_ended() == 2
    assert "--admin-token-file" in node.said
    assert "Traceback" not in node.said


async def test_an_admin_port_off_loopback_only_tells_and_warns(tmp_path: Path) -> None:
    options = ("--cluster", f"off-{tmp_path.name}", "--join", "127.0.0.1:1", "--admin", "0.0.0.0:0")
    with trio.fail_after(60):
        async with running(HELLO, *options) as node:
            line = json.loads(await node.wait_said("is not on loopback"))
            assert line["level"] == "warning"
            assert "it takes no orders" in line["msg"]
            await node.wait_said("can be watched at")


def test_the_wheel_contains_the_page(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    (wheel,) = WheelBuilder(str(root)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        page = {PurePath(name).name for name in archive.namelist() if name.startswith("swimring/admin/http/page/")}
    assert page == {file.name for file in (root / "swimring/admin/http/page").iterdir()}
    assert "index.html" in page
