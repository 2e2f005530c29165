"""One table of arguments for every operation, at odd and distinct sizes, so that no transpose can hide."""

from typing import Any, NamedTuple

import numpy as np

from minibert.ops.dropout import DropoutKey, Part
from minibert.ops.loss import IGNORE_INDEX

RNG = np.random.default_rng(1810_04805)
KEY = DropoutKey(seed=11, step=3, site=2)
KEY_FROM_5 = DropoutKey(seed=11, step=3, site=2, start=5)  # within a block of the random stream


class Case(NamedTuple):
    """What one call of an operation is given."""

    args: tuple[Any, ...]
    hyper: dict[str, Any]


def case(*args: Any, **hyper: Any) -> Case:
    return Case(args, hyper)


def normal(*shape: int) -> Any:
    return np.asarray(RNG.standard_normal(shape))


def positive(*shape: int) -> Any:
    """Away from 0, where a logarithm or a quotient bends too much to be measured."""
    return np.asarray(RNG.uniform(0.5, 3.0, shape))


def signed(*shape: int) -> Any:
    """Of either sign and away from 0, where relu has its kink and a quotient its pole."""
    return np.asarray(positive(*shape) * RNG.choice([-1.0, 1.0], shape))


def coin(*shape: int) -> Any:
    return RNG.random(shape) < 0.5


def distinct(*shape: int) -> Any:
    """No two numbers closer than 0.1, so that a largest one is the largest on a whole neighbourhood."""
    return np.asarray(RNG.permutation(int(np.prod(shape))) * 0.1 - 1.0).reshape(shape)


def between(*shape: int) -> Any:
    """Never near the numbers of `distinct`, which are multiples of 0.1."""
    return np.asarray(RNG.integers(-10, 25, shape) * 0.1 + 0.05)


SHAPE_PAIRS = [((), ()), ((3, 5), (3, 5)), ((3, 5), (5,)), ((5,), (2, 3, 5)), ((), (3, 5)), ((3, 5), ()),
               ((3, 1), (3, 5)), ((3, 5), (1, 5)), ((3, 1), (1, 5)), ((2, 1, 5), (3, 1)), ((1,), (7,)),
               ((1, 1), (3, 5)), ((4, 1, 3), (1, 2, 1))]
ACTIVATED = [case(signed(3, 7)), case(signed()), case(signed(2, 3, 5)), case(signed(7, 3).T),
             case(signed(5, 9)[:, ::2])]
AXES = [{}, {"axis": 0}, {"axis": -1}, {"axis": 1, "keepdims": True}, {"axis": (0, 2)}, {"axis": (-1, 0)},
        {"axis": (2, 1), "keepdims": True}, {"keepdims": True}, {"axis": ()}]
REDUCED = [case(distinct(2, 3, 5), **hyper) for hyper in AXES]
REDUCED += [case(distinct(5, 2, 3).transpose(1, 2, 0), axis=1), case(np.array(0.7)),
            case(distinct(7), axis=0)]
HEADS = [case(normal(2, 5, 6), 3), case(normal(1, 1, 4), 2), case(normal(3, 2, 5), 1),
         case(normal(5, 2, 12).swapaxes(0, 1), 4)]


def pairs(x: Any, y: Any) -> list[Case]:
    return [case(x(*a), y(*b)) for a, b in SHAPE_PAIRS] + [case(x(5, 3).T, y(3, 10)[:, ::2])]


def softmax_cases() -> list[Case]:
    masked = normal(2, 3, 5)
    masked[0, 1] = masked[1, 2, 1:4] = masked[1, 0, 0] = -np.inf
    return [case(normal(3, 5)), case(normal(7)), case(normal(2, 3, 4, 1)), case(30.0 * normal(4, 3)),
            case(normal(5, 3).T), case(masked)]


def attention_cases() -> list[Case]:
    def qkv(B: int, A: int, T: int, S: int, D: int) -> tuple[Any, ...]:
        return normal(B, A, T, D), normal(B, A, S, D), normal(B, A, S, D)
    nowhere = coin(2, 1, 3, 4)
    nowhere[0, 0, 1] = False
    causal = np.tril(np.ones((4, 4), bool))
    padded = np.array([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0]])[:, None, None, :]  # the second example is empty
    by_heads = [normal(2, 4, 3, 5).swapaxes(1, 2) for _ in range(3)]
    return [case(*qkv(2, 3, 4, 5, 6)), case(*qkv(1, 1, 1, 1, 1)), case(*qkv(2, 1, 1, 5, 3)),
            case(*qkv(2, 3, 3, 4, 5), nowhere), case(*qkv(1, 2, 4, 4, 3), causal),
            case(*qkv(2, 2, 3, 5, 4), padded), case(*qkv(2, 3, 4, 5, 2), None, 0.3, KEY),
            case(*qkv(2, 3, 3, 4, 5), nowhere, 0.4, KEY_FROM_5),
            case(*by_heads), case(*by_heads, causal)]


def add_norm_cases() -> list[Case]:
    def arrays(*shape: int) -> tuple[Any, ...]:
        return normal(*shape), normal(*shape), normal(shape[-1]), normal(shape[-1])
    turned = normal(5, 3).T, normal(3, 10)[:, ::2], normal(10)[::2], normal(5)
    part = DropoutKey(5, 1, 0, 0, Part((4, 3, 5), np.array([3, 1])))
    return [case(*arrays(3, 7)), case(*arrays(2, 3, 5), 0.3), case(*arrays(7)), case(*turned),
            case(*arrays(2, 1, 7), 1e-12, 0.4, KEY), case(*arrays(3, 5), p=0.2, key=KEY_FROM_5),
            case(*arrays(2, 3, 5), 0.1, 0.5, part), case(*arrays(2, 3, 7), 0.2, 0.0, None, normal(7)),
            case(*arrays(2, 3, 7), 1e-12, 0.4, KEY_FROM_5, normal(7)), case(*turned, 0.3, 0.2, KEY, normal(10)[::2]),
            case(*arrays(2, 3, 5), 0.1, 0.5, part, normal(5)), case(*arrays(7), 1e-12, 0.3, KEY, normal(7))]


def loss_cases() -> list[Case]:
    some = np.array([[3, IGNORE_INDEX, 0, 3], [IGNORE_INDEX, IGNORE_INDEX, 6, 1]])
    none = np.full((2, 3), IGNORE_INDEX)
    return [case(normal(5, 7), np.array([0, 6, 3, 3, 1])), case(normal(2, 4, 7), some),
            case(normal(2, 4, 7), some, 13), case(normal(2, 3, 5), none), case(normal(2, 3, 5), none, 4),
            case(normal(3), np.array(2)), case(20.0 * normal(4, 5), np.array([4, 0, 2, IGNORE_INDEX])),
            case(normal(7, 5).T, np.array([1, IGNORE_INDEX, 1, 0, 6])), case(normal(3, 1), np.zeros(3, int))]


CASES: dict[str, list[Case]] = {
    "add": pairs(normal, normal), "subtract": pairs(normal, normal), "multiply": pairs(normal, normal),
    "divide": pairs(normal, signed),
    "maximum": [case(distinct(*a), between(*b)) for a, b in SHAPE_PAIRS],
    "where": [case(coin(*np.broadcast_shapes(a, b)), normal(*a), normal(*b)) for a, b in SHAPE_PAIRS]
             + [case(coin(2, 1), normal(3), normal(1)), case(coin(), normal(3, 5), normal(5))],
    "power": [case(positive(3, 5), 2.0), case(positive(3, 5), -1.5), case(positive(), 0.5),
              case(normal(4, 3), 3), case(normal(3, 5), 0), case(signed(5, 3).T, 1),
              case(signed(7)[::2], -2)],
    "exp": [case(normal(3, 5)), case(normal()), case(normal(5, 2).T)],
    "log": [case(positive(3, 5)), case(positive()), case(positive(5, 2).T)],
    "sqrt": [case(positive(3, 5)), case(positive()), case(positive(5, 2).T)],
    "relu": ACTIVATED, "tanh": ACTIVATED, "sigmoid": ACTIVATED, "gelu": ACTIVATED, "gelu_tanh": ACTIVATED,
    "sum": REDUCED, "mean": REDUCED, "max": REDUCED,
    "reshape": [case(normal(3, 4), (2, 6)), case(normal(2, 3, 5), (-1, 5)), case(normal(5, 3).T, (15,)),
                case(normal(), (1, 1)), case(normal(1), ())],
    "transpose": [case(normal(2, 3, 5), (2, 0, 1)), case(normal(2, 3, 5), (1, -1, 0)),
                  case(normal(3, 5), (1, 0)), case(normal(2, 3, 4, 5), (0, 2, 1, 3)), case(normal(), ())],
    "broadcast_to": [case(normal(5), (3, 5)), case(normal(), (2, 3)), case(normal(2, 1, 5), (2, 3, 5)),
                     case(normal(3, 1), (2, 3, 5)), case(normal(3, 5), (3, 5))],
    "concatenate": [case(normal(2, 3), normal(1, 3), normal(4, 3)), case(normal(2, 3), normal(2, 5), axis=1),
                    case(normal(2, 3, 5), normal(2, 1, 5), axis=-2), case(normal(3)),
                    case(normal(5, 2).T, normal(2, 1), axis=-1)],
    "split_heads": HEADS,
    "merge_heads": [case(normal(2, 3, 5, 4)), case(normal(1, 2, 1, 3)), case(normal(3, 1, 2, 5)),
                    case(normal(2, 5, 3, 2).swapaxes(1, 2))],
    "getitem": [case(normal(5, 3), 2), case(normal(5, 3), (slice(None), -1)),
                case(normal(5, 3), slice(3, None, -2)),
                case(normal(2, 5, 3), (Ellipsis, None, 1)), case(normal(5, 3), np.array([4, 0, 4, 4])),
                case(normal(5, 3), [1, 1, 2]), case(normal(5, 3), (np.array([0, 0, 3]), np.array([1, 1, 2]))),
                case(normal(2, 5, 3), (slice(None), np.array([[1, 1], [0, 4]]))), case(normal(5, 3), coin(5)),
                case(normal(5, 3), coin(5, 3)), case(normal(3, 5).T, (np.array([2, 2]), slice(1, None))),
                case(normal(4), (1,)), case(normal(5, 3), np.int64(3)),
                case(normal(5, 3), np.array([-1, 4, 0]))],  # -1 and 4 are the same row
    "embedding": [case(normal(7, 3), np.array([[1, 4, 1], [6, 1, 0]])), case(normal(5, 2), np.array(3)),
                  case(normal(5, 2), np.array([2, 2, 2, 2])), case(normal(3, 7).T, np.array([[6], [6]])),
                  case(normal(5, 4), np.zeros((2, 0), int))],
    "matmul": [case(normal(3, 4), normal(4, 5)), case(normal(2, 3, 4), normal(2, 4, 5)),
               case(normal(2, 3, 4), normal(4, 5)), case(normal(3, 4), normal(2, 4, 5)),
               case(normal(2, 1, 3, 4), normal(5, 4, 2)), case(normal(1, 3, 4), normal(2, 4, 1)),
               case(normal(4, 3), normal(4, 5), True), case(normal(3, 4), normal(5, 4), False, True),
               case(normal(2, 4, 3), normal(5, 4), True, True), case(normal(4, 3).T, normal(5, 4).T),
               case(normal(4, 3), normal(2, 4, 5), ta=True)],
    "linear": [case(normal(3, 5), normal(4, 5), normal(4)), case(normal(2, 3, 5), normal(4, 5), normal(4)),
               case(normal(2, 3, 5), normal(4, 5)), case(normal(5), normal(4, 5), normal(4)),
               case(normal(5, 3).T, normal(5, 4).T, normal(8)[::2]), case(normal(3, 1), normal(1, 1), None)],
    "linear_gelu": [case(normal(3, 5), normal(4, 5), normal(4)), case(normal(2, 3, 5), normal(4, 5), normal(4)),
                    case(normal(5), normal(4, 5), normal(4)),
                    case(normal(5, 3).T, normal(5, 4).T, normal(8)[::2]), case(normal(3, 1), normal(1, 1), normal(1))],
    "softmax": softmax_cases(),
    "log_softmax": softmax_cases()[:-1],
    "layer_norm": [case(normal(3, 7), normal(7), normal(7)), case(normal(2, 3, 5), normal(5), normal(5)),
                   case(normal(7), normal(7), normal(7)), case(normal(3, 5) + 40.0, normal(5), normal(5)),
                   case(normal(3, 5), normal(5), normal(5), 0.3),
                   case(normal(2, 1), normal(1), normal(1), 0.1),
                   case(normal(7, 4).T, normal(14)[::2], normal(7))],
    "add_norm": add_norm_cases(),
    "attention": attention_cases(),
    "dropout": [case(normal(3, 7), 0.3, KEY), case(normal(2, 3, 5), 0.5, KEY_FROM_5),
                case(normal(5, 3).T, 0.1, KEY), case(normal(), 0.2, KEY), case(normal(3, 5), 0.0, KEY),
                case(normal(4, 3), 0.6, DropoutKey(0, 0, 0, 16))],
    "cross_entropy": loss_cases(),
}
NAMED_CASES = [(name, i) for name, cases in CASES.items() for i in range(len(cases))]


def arguments(name: str, i: int) -> Case:
    """Case `i` of an operation, its arrays copied, strides and all, so that no test can spoil another's."""
    args, hyper = CASES[name][i]
    return Case(tuple(_copy(a) if isinstance(a, np.ndarray) else a for a in args), dict(hyper))


def _copy(a: Any) -> Any:
    b = a.copy(order="K")
    return b if b.strides == a.strides else np.repeat(a, 2, axis=-1)[..., ::2]
