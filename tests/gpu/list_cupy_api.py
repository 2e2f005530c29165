"""Writes cupy_api.json: the public names of CuPy and the parameters of its functions, as the installed CuPy has them.

    python tests/gpu/list_cupy_api.py        # needs CuPy, and no GPU
"""

import inspect
import json
import re
import types
from pathlib import Path
from typing import Any

import cupy

FILE = Path(__file__).with_name("cupy_api.json")


def parameters(function: Any) -> list[str] | None:
    """Names of a function's parameters; None when they cannot be told, or are any."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        signature = re.match(r"\s*\w+\((.*?)\)", (function.__doc__ or "").replace("\n", " "))
        parts = signature.group(1).split(",") if signature else []
        names = [re.split(r"[:=]", part.strip("*/ "))[0].strip().split()[-1] for part in parts if part.strip("*/ ")]
        return names if signature else None
    if any(p.kind is p.VAR_KEYWORD for p in found):
        return None
    return [p.name for p in found]


def kind(value: Any) -> Any:
    """What strict_cupy has to know of a public name: "ufunc", "type", "module", "value", or a function's parameters."""
    if isinstance(value, cupy.ufunc):
        return "ufunc"
    if isinstance(value, type):
        return "type"
    if isinstance(value, types.ModuleType):
        return "module"
    return parameters(value) if callable(value) else "value"


def public(owner: Any) -> dict[str, Any]:
    """Every public name of a module or class."""
    return {name: kind(getattr(owner, name)) for name in dir(owner) if not name.startswith("_")}


if __name__ == "__main__":
    api = {"version": cupy.__version__, "cupy": public(cupy), "linalg": public(cupy.linalg),
           "ndarray": public(cupy.ndarray)}
    lines = [f"{json.dumps(part)}: {{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}"
             for name, value in sorted(names.items())) + "\n}" if isinstance(names, dict) else
             f"{json.dumps(part)}: {json.dumps(names)}" for part, names in api.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{FILE.name}: {len(api['cupy'])} names of CuPy {cupy.__version__}")
