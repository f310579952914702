"""Chat rooms whose last words move with them, and listeners who follow: ``python examples/chat_room.py``.

A room lives where its key lives. When its node leaves, what was said is on the next one, and whoever listened opens the
room there, from the number it has reached.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator  # noqa: TC003 - annotations of handlers are evaluated
from dataclasses import dataclass, field

import trio

from swimring import CallError, Node, Request, Service, open_node


@dataclass
class Room:
    """What is kept of a room: its last hundred lines, and the number of the first of them."""

    first: int = 0
    lines: list[str] = field(default_factory=list)


app = Service("chat")
rooms = app.own_keys(Room, replicas=1, one_at_a_time=False)  # listeners stay for long, and others talk meanwhile
spoken: dict[object, trio.Event] = defaultdict(trio.Event)


@app.on("say")
async def say(request: Request, who: str, text: str) -> int:
    own = rooms.of(request)
    room = own.state
    room.lines.append(f"{who}: {text}")
    room.first += max(0, len(room.lines) - 100)
    del room.lines[:-100]
    number = room.first + len(room.lines)
    await own.checkpoint()
    spoken.pop(request.key, trio.Event()).set()
    return number


@app.on("listen", idempotent=True)
async def listen(request: Request, since: int = 0) -> AsyncIterator[str]:
    room = rooms.of(request).state
    while True:
        heard = spoken[request.key]
        since = max(since, room.first)
        for line in room.lines[since - room.first :]:
            yield line
            since += 1
        await heard.wait()


async def follow(node: Node, room: str, lines: int) -> None:
    """Listen to so many lines, wherever the room is."""
    number = 0
    while number < lines:
        try:
            async with node.open(listen, room, number) as heard:
                async for line in heard:
                    number += 1
                    print(line)
                    if number == lines:
                        break
        except CallError:
            await trio.sleep(0.05)  # the room moved: it is opened again where it is now


async def main() -> None:
    async with open_node(app, name="left", cluster="chat") as left:
        join = [str(left.me.address)]
        async with open_node(app, name="middle", cluster="chat", join=join) as middle, trio.open_nursery() as nursery:
            async with open_node(app, name="right", cluster="chat", join=join) as right:
                await middle.wait_ring(app, nodes=3)
                lobby = next(key for key in map(str, range(100)) if middle.lookup(key).name == right.name)
                nursery.start_soon(follow, middle, lobby, 3)
                await middle.call(say, lobby, "ada", "hello")
                await middle.call(say, lobby, "bob", "this node leaves now")
            await middle.call(say, lobby, "ada", "still here")


if __name__ == "__main__":
    trio.run(main)
