"""openapi.json held against what a coordinator really answers: JSON Schema, as much of it as the document uses, and
strictly, so that neither has a member that the other does not know."""
import json, re

KNOWN = {"$ref", "anyOf", "type", "enum", "const", "minLength", "maxLength", "pattern", "contentEncoding", "format", "minimum",
         "required", "properties", "additionalProperties", "items", "maxItems", "description"}
KINDS = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
         "null": type(None)}


def fits(schema, value, document, where):
    unknown = set(schema) - KNOWN
    assert not unknown, "%s: this test does not know %r" % (where, unknown)
    if "$ref" in schema:
        part = document
        for name in schema["$ref"].split("/")[1:]:
            part = part[name]
        return fits(part, value, document, where)
    if "anyOf" in schema:
        errors = []
        for option in schema["anyOf"]:
            try:
                return fits(option, value, document, where)
            except AssertionError as why:
                errors.append(str(why))
        raise AssertionError("; ".join(errors))
    if "type" in schema:
        names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        fine = any(isinstance(value, KINDS[n]) and (n == "boolean" or not isinstance(value, bool)) for n in names)
        assert fine, "%s: %r is not %s" % (where, value, names)
    if "enum" in schema:
        assert value in schema["enum"], "%s: %r is not among %r" % (where, value, schema["enum"])
    if "const" in schema:
        assert value == schema["const"], "%s: %r is not %r" % (where, value, schema["const"])
    if isinstance(value, str):
        assert len(value) <= schema.get("maxLength", 1 << 30), "%s: %r is too long" % (where, value)
        assert len(value) >= schema.get("minLength", 0), "%s: %r is too short" % (where, value)
        assert re.search(schema.get("pattern", ""), value), "%s: %r does not fit" % (where, value)
        assert schema.get("format") != "date-time" or re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", value), where
    if isinstance(value, (int, float)) and "minimum" in schema:
        assert value >= schema["minimum"], "%s: %r is too small" % (where, value)
    if isinstance(value, dict) and "additionalProperties" in schema:
        for name in value:
            fits(schema["additionalProperties"], value[name], document, where + "." + name)
    elif isinstance(value, dict):
        for name in schema.get("required", []):
            assert name in value, "%s: %s is missing" % (where, name)
        for name, part in schema.get("properties", {}).items():
            if name in value:
                fits(part, value[name], document, where + "." + name)
        extra = set(value) - set(schema.get("properties", value))
        assert not extra, "%s: %r is not in the document" % (where, extra)
    if isinstance(value, list):
        assert len(value) <= schema.get("maxItems", 1 << 30), "%s: too many" % where
        for item in value:
            fits(schema.get("items", {}), item, document, where + "[]")


def operation_of(document, method, target):
    """What the document has for this request: its path, and the operation; None: nothing."""
    path = target.partition("?")[0]
    for pattern in sorted(document["paths"], key=lambda p: "{" in p):  # a fixed one goes before
        if re.fullmatch(re.escape(pattern).replace(r"\{id\}", "[^/]+"), path):
            return pattern, document["paths"][pattern].get(method.lower())
    return None, None


def check_answer(document, method, target, status, kind, body):
    """Is this answer to this request one that the document says?"""
    path, operation = operation_of(document, method, target)
    if not operation:
        return
    where = "%s %s: %d" % (method, path, status)
    answer = operation["responses"].get(str(status))
    assert answer, where + " is not in the document: %r" % body[:300]
    while "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    if kind in answer.get("content", {}):
        fits(answer["content"][kind]["schema"], json.loads(body), document, where)
    else:
        assert status < 400 and "content" not in answer, "%s: %s is not in the document" % (where, kind)


def checker():
    """For Coordinator.check: each answer is held against the document, as the first coordinator gives it."""
    documents = []

    def check(co, method, target, status, kind, body):
        if not documents:
            connection = co.connect()
            connection.request("GET", "/api/v1/openapi.json")
            documents.append(json.loads(connection.getresponse().read()))
            connection.close()
        check_answer(documents[0], method, target, status, kind, body)
    return check


def frame_fits(frames, frame, document, where):
    """Is this frame one of those (x-frames of one side, or x-events)?"""
    fits({"anyOf": [f["schema"] for f in frames if f["type"] == frame.get("type")] or [{"const": "none of that type"}]},
         frame, document, where)


def wrong_for(schema):
    """Values of the types that a member does not have."""
    options = schema.get("anyOf", [schema])
    names = {n for o in options for n in ([o["type"]] if isinstance(o.get("type"), str) else o.get("type", []))}
    if any("enum" in o for o in options):
        names.add("string")
    assert names, "a member of a request has no type: %r" % schema
    all_ = {"string": "x", "integer": 5, "boolean": True, "array": [], "object": {}, "number": 1.5}
    wrong = [value for name, value in all_.items() if name not in names and not (name == "integer" and "number" in names)]
    if "array" in names and "object" not in names:
        wrong.append([5])
    return wrong
