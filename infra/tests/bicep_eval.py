"""A small evaluator of the Bicep in this folder: what would be deployed, with which properties.

It knows the functions and the syntax that the templates use and raises `Unsupported` at anything else, so that it can be
wrong only loudly. It is no compiler: `bicep build` has the last word.
"""

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path

import tree_sitter
import tree_sitter_bicep

PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language()))


class Unsupported(Exception):
    """Syntax or a function that the evaluator does not know."""


class Refused(Exception):
    """A parameter that its decorators do not allow."""


@dataclass
class Resource:
    """A declared resource: `kind` is the type without its version; `body` the evaluated object."""

    kind: str
    name: str
    id: str
    body: dict = field(default_factory=dict)
    existing: bool = False


@dataclass
class Module:
    """A module: resources of its own file, or, for a registry module, only what it was given."""

    name: str
    outputs: dict
    registry: str = ""
    params: dict = field(default_factory=dict)


@dataclass
class World:
    """What Azure would know: the scope of the deployment and the values that exist only after it, by resource id."""

    group_id: str
    location: str
    tenant_id: str
    runtime: dict

    @property
    def subscription_id(self):
        return "/".join(self.group_id.split("/")[:3])


def text(node):
    return node.text.decode()


def parts(node):
    return [child for child in node.children if child.is_named and child.type != "comment"]


def whole_number(text):
    """Azure ends a deployment at what is no number."""
    try:
        return int(text)
    except ValueError as problem:
        raise Refused(str(problem)) from None


class File:
    """One Bicep file with its parameters; everything in it is evaluated when it is first asked for."""

    def __init__(self, path, params, world, deployed):
        self.path, self.world, self.deployed = Path(path), world, deployed
        self.nodes, self.values, self.busy = {}, {}, set()
        self.outputs = {}
        root = PARSER.parse(self.path.read_bytes()).root_node
        if root.has_error:
            raise Unsupported(f"{path}: syntax error")
        declared_params, decorators, pending = {}, {}, []
        for node in parts(root):
            kind = node.type.removesuffix("_declaration")
            if kind == "decorators":
                pending += parts(node)
                continue
            rules, pending = pending, []
            if kind in ("metadata", "target_scope_assignment"):
                continue
            if kind not in ("parameter", "variable", "resource", "module", "output"):
                raise Unsupported(f"{path}: {node.type}")
            name = text(next(c for c in parts(node) if c.type == "identifier"))
            if kind == "output":
                self.outputs[name] = node
            else:
                self.nodes[name] = (kind, node)
            if kind == "parameter":
                declared_params[name], decorators[name] = node, rules
        for name in set(params) - set(declared_params):
            raise Refused(f"{path}: no parameter {name}")
        for name, node in declared_params.items():
            if name in params:
                self.values[name] = params[name]
            elif parts(node)[-1].type == "type":
                raise Refused(f"{path}: parameter {name} is required")
            self.check(name, decorators[name])

    def deploy(self):
        for name in self.nodes:
            self.lookup(name)
        return {name: self.value(parts(node)[-1], {}) for name, node in self.outputs.items()}

    def check(self, name, decorators):
        value = self.lookup(name)
        allowed = {
            "description": lambda *_: True,
            "minLength": lambda n: len(value) >= n,
            "maxLength": lambda n: len(value) <= n,
            "minValue": lambda n: value >= n,
            "maxValue": lambda n: value <= n,
            "allowed": lambda options: value in options,
        }
        for call in (parts(decorator)[0] for decorator in decorators):
            rule, arguments = text(parts(call)[0]), [self.value(a, {}) for a in parts(parts(call)[1])]
            if rule not in allowed:
                raise Unsupported(f"decorator {rule}")
            if not allowed[rule](*arguments):
                raise Refused(f"{name}: {value!r} against {rule}{arguments}")

    def lookup(self, name):
        if name in self.values:
            return self.values[name]
        if name not in self.nodes:
            raise Unsupported(f"{self.path}: name {name}")
        if name in self.busy:
            raise Unsupported(f"{self.path}: cycle through {name}")
        self.busy.add(name)
        kind, node = self.nodes[name]
        if kind in ("resource", "module"):
            self.values[name] = self.declared(kind, node)
        else:
            self.values[name] = self.value(parts(node)[-1], {})
        return self.values[name]

    def declared(self, kind, node):
        type_name = self.value(next(c for c in parts(node) if c.type == "string"), {})
        existing = any(c.type == "existing" for c in node.children)
        make = self.module if kind == "module" else self.resource
        body = parts(node)[-1]
        if body.type == "if_statement":
            condition, body = parts(body)
            if not self.value(condition, {}):
                return None
        if body.type == "for_statement":
            return [make(type_name, existing, inner, scope) for inner, scope in self.loop(body, {})]
        return make(type_name, existing, body, {})

    def resource(self, type_name, existing, node, scope):
        kind = type_name.split("@")[0]
        body = self.value(node, scope)
        parent, scoped = body.pop("parent", None), body.get("scope")
        if parent is not None:
            id = f"{parent.id}/{kind.split('/')[-1]}/{body['name']}"
        elif scoped is not None:
            id = f"{scoped.id}/providers/{kind}/{body['name']}"
        else:
            id = f"{self.world.group_id}/providers/{kind}/{body['name']}"
        made = Resource(kind, body["name"], id, body, existing)
        if not existing:
            self.deployed.append(made)
        return made

    def module(self, path, _existing, node, scope):
        body = self.value(node, scope)
        params = body.get("params", {})
        if path.startswith("br"):
            made = Module(body["name"], {}, path, params)
            self.deployed.append(made)
            return made
        inner = File(self.path.parent / path, params, self.world, self.deployed)
        return Module(body["name"], inner.deploy())

    def loop(self, node, scope):
        named = parts(node)
        if named[0].type != "identifier":
            raise Unsupported(f"loop over {named[0].type}")
        for item in self.value(named[1], scope):
            yield named[2], {**scope, text(named[0]): item}

    def value(self, node, scope):
        handler = getattr(self, "on_" + node.type, None)
        if handler is None:
            raise Unsupported(f"{self.path}:{node.start_point[0] + 1}: {node.type} {text(node)[:40]!r}")
        return handler(node, scope)

    def on_identifier(self, node, scope):
        return scope[text(node)] if text(node) in scope else self.lookup(text(node))

    def on_number(self, node, _scope):
        return int(text(node))

    def on_boolean(self, node, _scope):
        return text(node) == "true"

    def on_string(self, node, scope):
        out = []
        for child in parts(node):
            if child.type == "string_content":
                out.append(text(child))
            elif child.type == "escape_sequence":
                out.append({"\\'": "'", "\\\\": "\\", "\\n": "\n", "\\$": "$"}[text(child)])
            elif child.type == "interpolation":
                out.append(str(self.value(parts(child)[0], scope)))
            else:
                raise Unsupported(child.type)
        return "".join(out)

    def on_array(self, node, scope):
        return [self.value(child, scope) for child in parts(node)]

    def on_object(self, node, scope):
        out = {}
        for pair in parts(node):
            if pair.type != "object_property":
                raise Unsupported(pair.type)
            key, item = parts(pair)
            name = text(key) if key.type == "identifier" else self.value(key, scope)
            out[name] = None if name == "dependsOn" else self.value(item, scope)
        out.pop("dependsOn", None)
        return out

    def on_for_statement(self, node, scope):
        return [self.value(inner, bound) for inner, bound in self.loop(node, scope)]

    def on_parenthesized_expression(self, node, scope):
        return self.value(parts(node)[0], scope)

    def on_ternary_expression(self, node, scope):
        condition, yes, no = parts(node)
        return self.value(yes if self.value(condition, scope) else no, scope)

    def on_binary_expression(self, node, scope):
        left, right = parts(node)
        sign = text(next(c for c in node.children if not c.is_named))
        if sign == "&&":
            return self.value(left, scope) and self.value(right, scope)
        if sign == "||":
            return self.value(left, scope) or self.value(right, scope)
        a, b = self.value(left, scope), self.value(right, scope)
        signs = {"==": a == b, "!=": a != b}
        if sign == ">=":
            signs[sign] = a >= b
        if sign in ("+", "*"):
            signs[sign] = a + b if sign == "+" else a * b
        if sign not in signs:
            raise Unsupported(f"operator {sign}")
        return signs[sign]

    def on_member_expression(self, node, scope):
        base, name = parts(node)
        return self.member(self.value(base, scope), text(name))

    def on_subscript_expression(self, node, scope):
        base, key = parts(node)
        values, at = self.value(base, scope), self.value(key, scope)
        if isinstance(values, list) and not 0 <= at < len(values):
            raise Refused(f"{self.path}: there is no {text(node)}")
        return values[at]

    def member(self, value, name):
        if isinstance(value, Resource):
            if name in ("id", "name"):
                return getattr(value, name)
            if name == "properties":
                return self.world.runtime[value.id]
        elif isinstance(value, Module) and name in ("outputs", "name"):
            return getattr(value, name)
        elif isinstance(value, dict):
            return value[name]
        raise Unsupported(f"{self.path}: .{name} of {type(value).__name__}")

    def on_call_expression(self, node, scope):
        name = text(parts(node)[0])
        arguments = [self.value(a, scope) for a in parts(parts(node)[1])]
        world, group = self.world, self.world.group_id
        functions = {
            "base64": lambda s: base64.b64encode(s.encode()).decode(),
            "contains": lambda whole, part: part in whole,
            "empty": lambda x: len(x) == 0,
            "guid": lambda *names: "guid:" + "|".join(names),
            "int": whole_number,
            "join": lambda items, sign: sign.join(items),
            "json": json.loads,
            "length": len,
            "loadJsonContent": lambda p: json.loads((self.path.parent / p).read_text()),
            "loadTextContent": lambda p: (self.path.parent / p).read_text(),
            "range": lambda start, count: list(range(start, start + count)),
            "replace": lambda s, old, new: s.replace(old, new),
            "resourceGroup": lambda: {"id": group, "location": world.location},
            "resourceId": lambda kind, n: f"{group}/providers/{kind}/{n}",
            "split": lambda s, sign: s.split(sign),
            "string": lambda x: str(x) if isinstance(x, (str, int)) and not isinstance(x, bool) else self.refuse_string(x),
            "subscription": lambda: {"tenantId": world.tenant_id},
            "subscriptionResourceId": lambda kind, n: f"{world.subscription_id}/providers/{kind}/{n}",
        }
        if name not in functions:
            raise Unsupported(f"{self.path}: function {name}")
        return functions[name](*arguments)

    @staticmethod
    def refuse_string(value):
        raise Unsupported(f"string() of {type(value).__name__}")


def deploy(path, params, world):
    """Everything that the template at `path` would deploy with `params`, and its outputs."""
    deployed = []
    outputs = File(path, params, world, deployed).deploy()
    return deployed, outputs
