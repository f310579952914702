"""What can be typed next, asked of the cluster that the rest of the line means; nothing if nobody answers at once."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cyclopts.completion import CompletionContext

    from swimring.client import Mesh

_WITHIN: Final = 1.5
_PLAIN: Final = ("cluster", "join", "secret", "secret_file")
_TLS: Final = ("tls_cert", "tls_key", "tls_ca", "tls_check_host")


def member_names(context: CompletionContext) -> dict[str, str]:
    """The members that take part, each with its address."""
    return _ask(context, lambda mesh: {one.name: str(one.address) for one in mesh.members if one.status.active})


def service_names(context: CompletionContext) -> dict[str, str]:
    """The services that are offered."""
    return _ask(context, lambda mesh: dict.fromkeys(mesh.services, "service"))


def _ask(context: CompletionContext, answer: Any) -> dict[str, str]:
    from swimring.errors import SwimringError  # noqa: PLC0415 - only when a key is pressed

    from .access import Access, Tls  # noqa: PLC0415 - which has what is completed here
    from .asking import with_mesh  # noqa: PLC0415 - only when a key is pressed

    plain, tls = ({name: _said(context, name) for name in names} for names in (_PLAIN, _TLS))
    access = Access(
        **{name: value for name, value in plain.items() if value is not None},
        tls=Tls(**{name: value for name, value in tls.items() if value is not None}),
        within=_WITHIN,
    )
    found: dict[str, str] = {}

    async def ask(mesh: Mesh) -> None:
        found.update(answer(mesh))

    with suppress(SwimringError):
        with_mesh(ask, access)
    return found


def _said(context: CompletionContext, name: str) -> Any:
    argument = context.get(f"--{name.replace('_', '-')}")
    return argument.value if argument is not None and argument.provided else None
