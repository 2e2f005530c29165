"""`Module`: a part of a model that owns parameters and smaller modules."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from minibert.backend import Array, beside, choose_device, is_array, room_on_gpu, to_device
from minibert.errors import InputError
from minibert.graph import state
from minibert.ops.registry import plain_formulas
from minibert.tensor import Tensor

if TYPE_CHECKING:
    from minibert.nn.dropout import DropoutStream


class Parameter(Tensor):
    """A leaf tensor that is trained.

    decay: whether weight decay may pull it to 0; not so for biases and normalisation gains.
    """

    __slots__ = ("decay",)

    def __init__(self, data: Array, decay: bool = True) -> None:
        super().__init__(data, requires_grad=True)
        self.decay = decay

    def assign(self, values: Array) -> None:
        """Replace the numbers, keeping the dtype.  Raises InputError when the shape differs."""
        if values.shape != self.shape:
            raise InputError(f"{self.name or 'the parameter'} has shape {self.shape}, not {values.shape}")
        self.data[...] = beside(values, self.data)
        self.version += 1


class Module:
    """Assigning a Parameter or a Module to an attribute registers it under that attribute's name.

    A subclass writes `forward`; calling the module runs it, and marks the graph's nodes with its path.
    """

    training = True
    fast = True  # on a GPU, in the CUDA twins of operations; see `to`
    dropout_stream: "DropoutStream | None" = None  # set on a model's root by `seed_dropout`
    _path = ""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        outer = state.modules[-1] if state.modules else ""
        state.modules.append(f"{outer}.{self._path}" if outer and self._path else outer or self._path)
        try:
            return self.forward(*args, **kwargs) if self.fast else self._plainly(*args, **kwargs)
        finally:
            state.modules.pop()
            if self.training and self.dropout_stream is not None:
                self.dropout_stream.advance()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def _plainly(self, *args: Any, **kwargs: Any) -> Any:
        with plain_formulas():
            return self.forward(*args, **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Module):
            value._path = name
        elif isinstance(value, ModuleList):
            for i, module in enumerate(value):
                module._path = f"{name}.{i}"
        elif any(isinstance(part, Module | Parameter) for part in _parts(value)):
            raise InputError(f"{name} holds modules or parameters in a {type(value).__name__}, where training would "
                             f"not find them: put modules in a ModuleList, and parameters in attributes")
        super().__setattr__(name, value)

    def children(self) -> Iterator[tuple[str, "Module"]]:
        """The modules one level down, with their names."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, ModuleList):
                for i, module in enumerate(value):
                    yield f"{name}.{i}", module

    def modules(self) -> Iterator["Module"]:
        """This module and every one below it, depth first."""
        yield self
        for _, child in self.children():
            yield from child.modules()

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter once, with its path; a tied parameter comes under its first path."""
        yield from self._walk("", set())

    def _walk(self, prefix: str, seen: set[Parameter]) -> Iterator[tuple[str, Parameter]]:
        for name, value in vars(self).items():
            if isinstance(value, Parameter) and value not in seen:
                seen.add(value)
                yield prefix + name, value
        for name, child in self.children():
            yield from child._walk(f"{prefix}{name}.", seen)

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter once."""
        for _, parameter in self.named_parameters():
            yield parameter

    def name_parameters(self) -> None:
        """Give each parameter its path as its name, for messages and debugging."""
        for name, parameter in self.named_parameters():
            parameter.name = name

    def to(self, device: str, fast: bool = True) -> Self:
        """Move every parameter with its gradient, and every other array of the modules, to "cpu" or "cuda".

        device: or "auto", see `minibert.backend.choose_device`.
        fast: on a GPU, compute in CUDA kernels of our own where an operation has them; False computes the formulas
        as they stand, with CuPy, forward and backward, in this module and all that runs inside it.
        Raises InputError when there is no GPU to be used, or no room on it; nothing is moved then.
        """
        device, modules = choose_device(device), list(self.modules())
        with room_on_gpu("this model needs a larger GPU, or the cpu"):
            moved = [(p, to_device(p.data, device), None if p.grad is None else to_device(p.grad, device))
                     for p in self.parameters()]
            others = [(vars(module), name, to_device(value, device)) for module in modules
                      for name, value in vars(module).items() if is_array(value)]
        for parameter, data, grad in moved:
            parameter.version += data is not parameter.data
            parameter.data, parameter.grad = data, grad
        for attributes, name, array in others:
            attributes[name] = array
        for module in modules:
            module.fast = fast
        return self

    def zero_grad(self) -> None:
        """Set every parameter's `grad` to None."""
        for parameter in self.parameters():
            parameter.grad = None

    def train(self, mode: bool = True) -> Self:
        """Switch dropout on (or off) in this module and all below it."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch dropout off."""
        return self.train(False)

    def state_dict(self) -> dict[str, Array]:
        """The arrays of all parameters, by name: the arrays themselves, not copies."""
        return {name: parameter.data for name, parameter in self.named_parameters()}

    def load_state_dict(self, arrays: Mapping[str, Array]) -> None:
        """Copy arrays into the parameters of the same names.

        Raises InputError, before anything is changed, when a name is missing or unknown, or a shape differs.
        """
        parameters = dict(self.named_parameters())
        missing, unknown = sorted(parameters.keys() - arrays.keys()), sorted(arrays.keys() - parameters.keys())
        if missing or unknown:
            raise InputError(f"the weights do not fit this model: missing {_few(missing)}; unknown {_few(unknown)}")
        for name, parameter in parameters.items():
            if arrays[name].shape != parameter.shape:
                raise InputError(f"the weight {name} has shape {tuple(arrays[name].shape)}, but this model needs "
                                 f"{parameter.shape}: the configuration belongs to another model")
            if not np.isfinite(arrays[name]).all():
                raise InputError(f"the weight {name} holds NaN or infinity: it was saved from a broken run")
        for name, parameter in parameters.items():
            parameter.assign(arrays[name])


class ModuleList(list[Module]):
    """A list of modules that a Module registers as name.0, name.1, ..."""


def _parts(value: Any) -> Iterable[Any]:
    """What a plain container holds."""
    return value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple | set) else ()


def _few(names: list[str]) -> str:
    """A list of names that fits in a sentence."""
    return "none" if not names else ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
