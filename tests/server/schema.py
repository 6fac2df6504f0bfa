"""Checks answers against the OpenAPI document that the server itself serves: paths, statuses, types, and the JSON Schema words that the
document uses. Standard library only."""

import re

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "number": (int, float), "integer": int}


def is_type(value, name):
    return isinstance(value, TYPES[name]) and not (name in ("integer", "number") and isinstance(value, bool))


class Document:
    def __init__(self, document):
        self.document = document
        self.seen = set()  # (path, method, status) that a test has met

    def follow(self, node):
        while "$ref" in node:
            path = node["$ref"].split("/")[1:]
            node = self.document
            for part in path:
                node = node[part]
        return node

    def validate(self, schema, value, where="$"):
        schema = self.follow(schema)
        types = schema.get("type")
        if types and not any(is_type(value, t) for t in ([types] if isinstance(types, str) else types)):
            raise AssertionError(f"{where}: {value!r} is no {types}")
        if "const" in schema and value != schema["const"]:
            raise AssertionError(f"{where}: {value!r} is not {schema['const']!r}")
        if "enum" in schema and value not in schema["enum"]:
            raise AssertionError(f"{where}: {value!r} is none of {schema['enum']}")
        if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
            raise AssertionError(f"{where}: {value!r} does not match {schema['pattern']}")
        if is_type(value, "number") and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            raise AssertionError(f"{where}: {value!r} is out of bounds")
        if isinstance(value, dict):
            for name in schema.get("required", []):
                assert name in value, f"{where}: {name} is missing"
            for name, inner in value.items():
                if name in schema.get("properties", {}):
                    self.validate(schema["properties"][name], inner, f"{where}.{name}")
                elif "properties" in schema:
                    raise AssertionError(f"{where}: {name} is not in the document")
        if isinstance(value, list) and "items" in schema:
            for i, inner in enumerate(value):
                self.validate(schema["items"], inner, f"{where}[{i}]")

    def find(self, path):
        path = path.split("?")[0]
        for pattern in sorted(self.document["paths"], key=lambda p: "{" in p):
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), path):
                return pattern
        return None

    def check(self, method, path, reply):
        """Of one answer: its status is in the document, and so is its body."""
        pattern = self.find(path)
        assert pattern, f"{path} is not in the document"
        operation = self.document["paths"][pattern].get(method.lower())
        if operation is None:
            assert reply.status == 405 and reply.error["code"] == "method_not_allowed", (method, path, reply.status)
            return
        assert str(reply.status) in operation["responses"], f"{method} {pattern}: status {reply.status} is not in the document"
        self.seen.add((pattern, method.lower(), reply.status))
        content = self.follow(operation["responses"][str(reply.status)]).get("content")
        kind = reply.headers.get("content-type", "").split(";")[0]
        assert not content or kind in content, f"{method} {pattern} {reply.status}: {kind} is not in the document"
        if content and kind == "application/json":
            self.validate(content[kind].get("schema", {}), reply.json)
