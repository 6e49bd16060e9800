"""Checks dashboards against Grafana's own schema, as grafana-foundation-sdk's models have it: FILE...

Each file is read into the models and written again: what the schema does not know is lost on the way, and shows. Then
each value's type is held against the model's. Ends with 1 and the places that are wrong.
"""

import enum
import json
import sys
import types
import typing

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def lost(before, after, path):
    """Places where two JSON values differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() | after.keys():
            if key not in after:
                yield f"{path}.{key}: the schema does not know it"
            elif key in before:
                yield from lost(before[key], after[key], f"{path}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, pair in enumerate(zip(before, after)):
            yield from lost(*pair, f"{path}[{index}]")
    elif before != after:
        yield f"{path}: {before!r} became {after!r}"


def is_model(hint):
    return isinstance(hint, type) and hasattr(hint, "from_json")


def wrong(value, hint, path):
    """Places where a value is not of the type that the model says."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        some = [way for way in inner if way is not type(None)] if value is not None else [type(None)]
        some = [way for way in some if type(value) is way] or some
        ways = [list(wrong(value, way, path)) for way in some]
        yield from [] if [] in ways else min(ways, key=len)
    elif origin is typing.Literal:
        if value not in inner:
            yield f"{path}: {value!r} is none of {inner}"
    elif origin is list and isinstance(value, list):
        for index, item in enumerate(value):
            yield from wrong(item, inner[0], f"{path}[{index}]")
    elif origin is dict and isinstance(value, dict):
        for key, item in value.items():
            yield from wrong(item, inner[1], f"{path}.{key}")
    elif isinstance(hint, type) and issubclass(hint, enum.Enum):
        if value not in [member.value for member in hint]:
            yield f"{path}: {value!r} is no {hint.__name__}"
    elif hasattr(value, "to_json") and isinstance(hint, type):
        yield from fields(value, path) if isinstance(value, hint) else [f"{path}: no {hint.__name__}"]
    elif is_model(hint):
        yield from fields(hint.from_json(value), path) if isinstance(value, dict) else [f"{path}: no {hint.__name__}"]
    elif hint is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            yield f"{path}: {value!r} is no number"
    elif hint in (int, str, bool, type(None)):
        if not isinstance(value, hint) or isinstance(value, bool) is not (hint is bool):
            yield f"{path}: {value!r} is no {hint.__name__}"
    elif origin in (list, dict):
        yield f"{path}: {value!r} is no {origin.__name__}"


def fields(item, path):
    """The same for all fields of a model."""
    for name, hint in typing.get_type_hints(type(item)).items():
        yield from wrong(getattr(item, name), hint, f"{path}.{name}")
    # What a panel's plugin makes of them has no type in the panel itself.
    for name in ("options", "custom"):
        if hasattr(getattr(item, name, None), "to_json"):
            yield from fields(getattr(item, name), f"{path}.{name}")


def main():
    register_default_plugins()
    problems = []
    for file in sys.argv[1:]:
        with open(file, encoding="utf-8") as opened:
            before = json.load(opened)
        read = Dashboard.from_json(before)
        after = json.loads(JSONEncoder().encode(read))
        problems += [f"{file}: {what}" for what in [*lost(before, after, ""), *fields(read, "")]]
    print("\n".join(problems))
    sys.exit(bool(problems))


main()
