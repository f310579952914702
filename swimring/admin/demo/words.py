"""The demo's service: every word's counts live on the node that owns the word.

Counts are kept per file, and a put replaces what was kept for its file: so it is idempotent, and after a crash a file
can simply be streamed again. A node reports only words it owns at that moment, so counts that were left behind
when the ring changed are never counted twice.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from swimring.codec import encode
from swimring.service import Request, Service

from .corpus import count_words

app = Service("words")

_WORDS_A_CHUNK = 2_000

_kept: defaultdict[str, dict[str, int]] = defaultdict(dict)  # file -> word -> count


@app.on("count", idempotent=True)
async def count(request: Request, file: str) -> int:
    """Split the streamed text, send its counts to the nodes that own the words, return the number of words."""
    text = bytearray()
    async with request.streams["text"] as stream:
        async for chunk in stream:
            text += chunk
    counts = count_words(bytes(text))
    by_owner: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for word, number in counts.items():
        by_owner[request.node.lookup(word).name][word] = number
    for shard in by_owner.values():
        await request.node.call(put, min(shard), file, shard)  # any word of the shard leads to its owner
    return counts.total()


@app.on("put", idempotent=True)
async def put(request: Request, file: str, counts: dict[str, int]) -> None:  # noqa: ARG001
    """Keep what ``file`` says about the words of this shard."""
    _kept[file].update(counts)


@app.on("held")
async def held(request: Request) -> dict[str, int]:
    """How many words of each file are held here by their owner."""
    return {
        file: sum(number for word, number in counts.items() if request.node.owns(word))
        for file, counts in _kept.items()
    }


@app.on("totals")
async def totals(request: Request) -> int:
    """Stream back the total of every word this node owns; return how many words there are."""
    total: Counter[str] = Counter()
    for counts in _kept.values():
        total.update(counts)
    owned = [(word, number) for word, number in total.items() if request.node.owns(word)]
    async with request.streams["totals"] as stream:
        for start in range(0, len(owned), _WORDS_A_CHUNK):
            chunk = encode(dict(owned[start : start + _WORDS_A_CHUNK]))
            await stream.send(len(chunk).to_bytes(4, "big") + chunk)
    return len(owned)
