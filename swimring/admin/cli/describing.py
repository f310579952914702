"""``swimring schema``: what the handlers of services take and return, as their annotations say it."""

from __future__ import annotations

from typing import Any

from swimring.admin.loading import load_services

from .access import AsJson, Target
from .output import print_json, print_table


def schema(target: Target, /, *, as_json: AsJson = False) -> None:
    """Print one JSON Schema document for each service, or a table of the handlers."""
    services = load_services(target)
    documents = [service.schema() for service in services]
    if as_json:
        print_json(documents)
        return
    columns = ("handler", "pattern", "idempotent", "parameters", "result")
    rows = [_row(handler) for found in documents for handler in found["handlers"]]
    print_table(columns, rows, title=", ".join(service.name for service in services))


def _row(handler: dict[str, Any]) -> tuple[str, ...]:
    parameters, result = handler["parameters"], handler["result"]
    required = parameters.get("required", ())
    shown = [
        f"{name}{'' if name in required else '?'}: {_short(part)}" for name, part in parameters["properties"].items()
    ]
    further = parameters["additionalProperties"]
    if further is not False:
        shown.append(f"**: {_short(further)}")
    pattern = ", ".join(
        f"{name}: {asked.get('const', asked.get('description'))}" for name, asked in handler["pattern"].items()
    )
    return handler["handler"], pattern, "yes" if handler["idempotent"] else "no", ", ".join(shown), _short(result)


def _short(part: Any) -> str:
    """A schema in a few words."""
    match part:
        case {"anyOf": [*members]}:
            return " | ".join(map(_short, members))
        case {"enum": [*members]}:
            return " | ".join(map(repr, members))
        case {"type": "array"}:
            inside = part.get("prefixItems") or [part.get("items")]
            return f"[{', '.join(map(_short, inside))}]"
        case {"type": "object", "additionalProperties": dict(item)}:
            return f"{{{_short(item)}}}"
        case {"contentEncoding": _}:
            return "bytes"
        case {"$ref": str(name)} | {"format": str(name)} | {"type": str(name)}:
            return name.rpartition("/")[2]
        case _:
            return "any"
