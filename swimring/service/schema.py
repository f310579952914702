"""JSON Schema, both ways: one that a message has to satisfy, and those that say what the handlers of a service take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from swimring.codec import DIALECT, JsonSchema, Schemas, ShapeError, json_form, show
from swimring.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .service import Service

_SHOWN: Final = 120
_REFERENCES: Final = ("$ref", "$dynamicRef")


class MessageSchema:
    """A JSON Schema given by the user, asked about whole messages in their JSON form: see `json_form`.

    Nothing is coerced, and no reference is followed out of the schema. Patterns in it are run on what strangers send.
    """

    def __init__(self, schema: Mapping[str, Any], *, setting: str) -> None:
        """Compile ``schema``, called ``setting`` in errors; its dialect is 2020-12 unless ``$schema`` names another.

        Raises:
            MissingExtra: jsonschema is not installed.
            ConfigError: this is no JSON Schema, or it refers to what is not in it.
        """
        try:
            import jsonschema  # noqa: PLC0415 - an extra, for those who use it
        except ImportError as error:
            raise MissingExtra("schema", "jsonschema") from error
        self.source: Final[JsonSchema] = dict(schema)
        for target in _references(schema):
            if not (isinstance(target, str) and target.startswith("#")):
                raise ConfigError(setting, f"a reference to {target}", "references stay inside the schema: #/...")
        kind = jsonschema.validators.validator_for(self.source, default=jsonschema.Draft202012Validator)
        try:
            kind.check_schema(self.source)
        except jsonschema.SchemaError as error:
            raise ConfigError(setting, error.message[:_SHOWN], f"a JSON Schema, at {error.json_path}") from error
        self._check_references(str(kind.META_SCHEMA["$schema"]), setting)
        self._errors = kind(self.source).iter_errors

    def _check_references(self, dialect: str, setting: str) -> None:
        from referencing import Registry  # noqa: PLC0415 - comes with jsonschema
        from referencing.exceptions import Unresolvable  # noqa: PLC0415
        from referencing.jsonschema import specification_with  # noqa: PLC0415

        root = specification_with(dialect).create_resource(self.source)
        left = [(root, Registry().resolver_with_root(root))]
        while left:
            part, resolver = left.pop()
            targets = (part.contents.get(name) for name in _REFERENCES) if isinstance(part.contents, dict) else ()
            for target in targets:
                try:
                    if target is not None:
                        resolver.lookup(target)
                except Unresolvable as error:
                    raise ConfigError(
                        setting, f"a reference to {target}, which leads nowhere", "references that lead to a schema"
                    ) from error
            left += [(inner, resolver.in_subresource(inner)) for inner in part.subresources()]

    def check(self, message: Mapping[str, Any]) -> None:
        """See that ``message`` satisfies the schema.

        Raises:
            ShapeError: it does not; names the first value that is wrong.
        """
        error = next(self._errors(json_form(dict(message))), None)
        if error is not None:
            asked = f"{error.validator} {error.validator_value}"[:_SHOWN]
            raise ShapeError(show(error.instance), f"what the schema says: {asked}", tuple(error.absolute_path))


def _references(schema: object) -> Iterator[object]:
    if isinstance(schema, dict):
        for name, part in schema.items():
            if name in _REFERENCES and not isinstance(part, dict):
                yield part
            yield from _references(part)
    elif isinstance(schema, (list, tuple)):
        for part in schema:
            yield from _references(part)


def document(service: Service) -> JsonSchema:
    """What the handlers of ``service`` take and return, as JSON Schemas in one document."""
    schemas = Schemas()
    handlers = [endpoint.describe(schemas) for endpoint in service.endpoints]
    errors = service.errors.describe_all(schemas)
    return {
        "$schema": DIALECT,
        "service": service.name,
        "handlers": handlers,
        "errors": errors,
        "$defs": schemas.definitions,
    }
