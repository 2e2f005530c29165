"""Reading and writing safetensors files, whole or not at all."""

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from minibert.backend import Array
from minibert.errors import InputError
from minibert.files import replace_atomically

CHECKSUM = "crc32"  # of all arrays, in the order of their names; written by us, absent from others' files


def write_arrays(path: Path, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write arrays and a checksum of them.  Raises InputError when that fails; an older file is kept then."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    metadata = {**metadata, CHECKSUM: _checksum(contiguous)}

    def write(temporary: Path) -> None:
        try:
            save_file(contiguous, temporary, metadata)
        except SafetensorError as error:
            raise OSError(str(error)) from error

    replace_atomically(path, write)


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
    if metadata.get(CHECKSUM, _checksum(arrays)) != _checksum(arrays):
        raise InputError(f"{path} is damaged: its checksum does not match its numbers; restore it from a copy")
    return arrays, metadata


def _checksum(arrays: Mapping[str, Array]) -> str:
    total = 0
    for name in sorted(arrays):
        total = zlib.crc32(name.encode(), total)
        total = zlib.crc32(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data, total)
    return f"{total:08x}"
