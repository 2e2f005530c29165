"""Reading and writing safetensors files, whole or not at all.

Written here and not by the library of that name, which puts the metadata in a random order: the same numbers
shall always give the same bytes. The format is an 8-byte length, a header in JSON, and the raw numbers.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from minibert.backend import Array
from minibert.errors import InputError
from minibert.files import replace_atomically

CHECKSUM = "crc32"  # of all arrays, in the order of their names; written by us, absent from others' files
ALIGNMENT = 8  # of the first number in the file, so that readers can map it into memory


def write_arrays(path: Path, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write arrays and a checksum of them.  Raises InputError when that fails; an older file is kept then."""
    ordered = dict(sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])))
    contents = {name: _content(array) for name, array in ordered.items()}
    header = _header(ordered, contents, {**metadata, CHECKSUM: _checksum(contents)})

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            for content in contents.values():
                file.write(content)

    replace_atomically(path, write)


def _header(arrays: Mapping[str, Array], contents: Mapping[str, memoryview], metadata: Mapping[str, str]) -> bytes:
    """The JSON object that says where in the file each array lies, and of what type and shape it is."""
    entries: dict[str, object] = {"__metadata__": metadata}
    start = 0
    for name, array in arrays.items():
        kind, end = array.dtype.kind, start + len(contents[name])
        entries[name] = {"dtype": "BOOL" if kind == "b" else f"{kind.upper()}{8 * array.dtype.itemsize}",
                         "shape": array.shape, "data_offsets": (start, end)}
        start = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % ALIGNMENT)


def read_arrays(path: Path, hint: str) -> tuple[dict[str, Array], dict[str, str]]:
    """All arrays of a file, and its metadata.

    Raises InputError when the file is missing (ending in `hint`), truncated, damaged, or of a dtype NumPy lacks.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist: {hint}")
    try:
        with safe_open(path, framework="np") as file:
            metadata = dict(file.metadata() or {})
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged or not a safetensors file ({error}): restore it from a copy") from error
    except (TypeError, AttributeError, KeyError) as error:
        raise InputError(f"{path} holds numbers of a type that NumPy lacks ({error}): save it as float32") from error
    if CHECKSUM in metadata and metadata[CHECKSUM] != _checksum({n: _content(a) for n, a in arrays.items()}):
        raise InputError(f"{path} is damaged: its checksum does not match its numbers; restore it from a copy")
    return arrays, metadata


def _content(array: Array) -> memoryview:
    """The numbers as the bytes that stand in the file."""
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return array.reshape(-1).view(np.uint8).data


def _checksum(contents: Mapping[str, memoryview]) -> str:
    total = 0
    for name in sorted(contents):
        total = zlib.crc32(name.encode(), total)
        total = zlib.crc32(contents[name], total)
    return f"{total:08x}"
