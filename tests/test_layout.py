"""The layout says what the thing is: files and functions stay short, and layers import downwards only."""

import ast
import configparser
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "minibert"
FILES = sorted(PACKAGE.rglob("*.py"))
LAYERS = ("errors", "gpu_faults", "backend", "flags", "summary", "files", "ops", "graph", "tensor", "functional", "nn",
          "interop", "models", "optim", "text", "fill_mask", "train", "embed", "embed_command", "bench", "lab",
          "cli")
KNOW_CUPY = (PACKAGE / "backend.py", PACKAGE / "ops" / "cuda" / "blas.py")
PEERS = PACKAGE / "bench" / "peers"  # other libraries, each in a process of its own


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=str)
def test_files_and_functions_fit_a_reader(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert source.count("\n") <= 250
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 40, f"{path.name}:{node.lineno} {node.name} is too long"


@pytest.mark.parametrize("path", [p for p in FILES if layer(p) in LAYERS], ids=str)
def test_a_layer_imports_only_those_below_it(path: Path) -> None:
    place = LAYERS.index(layer(path))
    for module in imports(path):
        parts = module.split(".")
        if parts[0] == "minibert" and len(parts) > 1 and parts[1] in LAYERS:
            below = LAYERS.index(parts[1])
            typing_only = layer(path) == "graph" and parts[1] == "tensor"
            assert below <= place or typing_only, f"{path.name} imports {module}"


def test_every_package_is_installed() -> None:
    settings = configparser.ConfigParser()
    settings.read(PACKAGE.parent / "setup.cfg", encoding="utf-8")
    packages = {".".join(path.parent.relative_to(PACKAGE.parent).parts) for path in PACKAGE.rglob("__init__.py")}
    assert settings["options"]["packages"].split() == sorted(packages | {"minibert.notebooks"})


def test_the_training_path_does_not_know_the_debugging_tools() -> None:
    for path in FILES:
        if layer(path) not in ("debug", "lab", "cli"):
            assert not any(module.startswith("minibert.debug") for module in imports(path)), path


def test_no_array_library_but_numpy_is_imported_outside_the_seam() -> None:
    for path in FILES:
        libraries = {module.split(".")[0] for module in imports(path)} & {"cupy", "torch", "jax", "scipy"}
        assert path.parent == PEERS or libraries <= ({"cupy"} if path in KNOW_CUPY else set()), path


def test_nobody_imports_the_peers_of_the_benchmark() -> None:
    for path in FILES:
        assert not any(module.startswith("minibert.bench.peers") for module in imports(path)), path


def test_every_open_names_its_encoding() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in {
                    "open", "read_text", "write_text"}:
                text_mode = not any(isinstance(a, ast.Constant) and "b" in str(a.value) for a in node.args)
                is_os_open = isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "os"
                assert is_os_open or not text_mode or any(k.arg == "encoding" for k in node.keywords), (
                    f"{path.name}:{node.lineno}")


def test_no_pickle_is_read_or_written() -> None:
    for path in FILES:
        assert not {"pickle", "shelve", "joblib", "dill"} & imports(path), path
        assert "allow_pickle" not in path.read_text(encoding="utf-8"), path
