"""The routes in the form of OpenAPI 3.1, made from their table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from . import answers
from .described import PATH_PARAMETERS, Operation, Parameter
from .http import JSON, NDJSON, Route

REF = "#/components/schemas/{name}"
VARIABLE = re.compile(r"<(?:\w+:)?(\w+)>")


def document(
    routes: Iterable[tuple[str, str, Route]],
    described: Mapping[str, Operation],
    *,
    version: str,
    is_public: Mapping[str, bool] | None = None,
) -> dict[str, Any]:
    """The whole. `is_public` says of each path whether it needs no token; None: none needs one."""
    schemas = Schemas(described.values())
    paths: dict[str, dict[str, Any]] = {}
    for method, path, route in routes:
        needs_token = is_public is not None and not is_public[path]
        shown = VARIABLE.sub(r"{\1}", path)
        paths.setdefault(shown, {})[method.lower()] = _operation(
            described[route.__name__], route.__name__, VARIABLE.findall(path), schemas, needs_token
        )
    components: dict[str, Any] = {"schemas": schemas.components}
    if is_public is not None:
        components["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "python-pubsub-server",
            "version": version,
            "description": "Publish and subscribe. Errors have one shape, whatever the route.",
        },
        "paths": paths,
        "components": components,
    }


class Schemas:
    """JSON Schemas of the types that the operations name, with what these share in components."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        types: list[Any] = [answers.Error, *(each.type for each in PATH_PARAMETERS.values())]
        for each in operations:
            types += [kind for kind in (each.answer, each.body) if kind is not None]
            types += [parameter.type for parameter in each.parameters]
        schemas, self.components = msgspec.json.schema_components(types, ref_template=REF)
        self._known = list(zip(types, schemas, strict=True))

    def of(self, kind: Any) -> dict[str, Any]:
        return next(schema for known, schema in self._known if known is kind or known == kind)


def _operation(
    each: Operation, name: str, variables: Sequence[str], schemas: Schemas, needs_token: bool
) -> dict[str, Any]:
    parameters = [*(PATH_PARAMETERS[variable] for variable in variables), *each.parameters]
    shown: dict[str, Any] = {
        "operationId": name,
        "summary": each.text,
        "parameters": [_parameter(parameter, schemas) for parameter in parameters],
        "responses": _responses(each, schemas, needs_token),
    }
    if each.needs_admin:
        shown["description"] = "With authentication it needs the right `admin`."
    if each.body is not None:
        schema = schemas.of(each.body)
        lines = {"type": "string", "description": "One such body a line"}
        shown["requestBody"] = {
            "required": True,
            "content": {
                kind: {"schema": lines if kind == NDJSON else schema} for kind in each.bodies
            },
        }
    if needs_token:
        shown["security"] = [{"token": []}]
    return shown


def _parameter(parameter: Parameter, schemas: Schemas) -> dict[str, Any]:
    shown = {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.is_required,
        "schema": schemas.of(parameter.type),
    }
    return shown | ({"description": parameter.text} if parameter.text else {})


def _responses(each: Operation, schemas: Schemas, needs_token: bool) -> dict[str, Any]:
    schema = {"type": "string"} if each.answer is None else schemas.of(each.answer)
    headers = {
        name: {"description": text, "schema": {"type": "string"}}
        for name, text in each.headers.items()
    }
    success: dict[str, Any] = {
        "description": each.text,
        "content": {each.content: {"schema": schema}},
    }
    if headers:
        success["headers"] = headers
    error = {"description": "", "content": {JSON: {"schema": schemas.of(answers.Error)}}}
    errors = sorted({*each.errors, *((401,) if needs_token else ())})
    responses = {str(code): error | {"description": HTTPStatus(code).phrase} for code in errors}
    return {str(each.status): success, **responses}
