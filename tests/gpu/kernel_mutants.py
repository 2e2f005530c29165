"""Bugs planted in the CUDA kernels, one edit each: what a tired colleague might write."""

import re
from collections.abc import Iterator
from typing import NamedTuple

RULES = (  # pattern, replacement, what it is
    (r"__syncthreads\(\);", "", "barrier forgotten"),
    (r"(?<=; )(\w+) < (d|n|keys|classes|rows|all|blocks)(?=[;)])", r"\1 <= \2", "one too many"),
    (r"(?<=; )(\w+) < (d|keys|classes|blocks)(?=;)", r"\1 < \2 - 1", "one too few"),
    (r"\+= blockDim\.x\)", "+= 32)", "stride of a warp, not of the block"),
    (r"fmaxf\(largest", "fminf(largest", "smallest for largest"),
    (r"NEGATIVE_INFINITY;", "0.0f;", "maximum begins at 0"),
    (r" - largest", "", "largest not subtracted"),
    (r"\bexpf\(", "sqrtf(", "another function"),
    (r" - sum\b", "", "sum not subtracted"),
    (r" - shift\b", "", "projection missing"),
    (r" - mean\b", "", "mean not subtracted"),
    (r" / d\b", " / (d - 1)", "unbiased"),
    (r" \* scale\b", "", "scale missing"),
    (r" \* survivors", "", "survivors not scaled"),
    (r"keep\[([^\]]*)\] \?", r"!keep[\1] ?", "mask inverted"),
    (r"(?<=[ (])gamma\[i\]", "1.0f", "gain missing"),
    (r" \+ beta\[i\]", "", "bias missing"),
    (r" \+ eps", "", "epsilon missing"),
    (r"\* clip\b", "", "clip factor missing"),
    (r"1\.0f - b(\d)", r"b\1", "moment's weight"),
    (r" / correction(\d)", "", "bias correction missing"),
    (r"i < decayed", "i <= decayed", "one too many decays"),
    (r" \+= (?=\w|\()", " = ", "assigned, not added"),
    (r"blockIdx\.x \*", "0 *", "every block at the same row"),
    (r"threadIdx\.x == 0\)", "threadIdx.x == 1)", "another thread writes"),
    (r"lanes = 16", "lanes = 8", "half of the warp"),
    (r"\+= 8", "+= 4", "rows counted twice"),
    (r"k < 8", "k < 7", "last partial sum forgotten"),
    (r"int k = 0; k < 16", "int k = 1; k < 16", "first word forgotten"),
    (r"block \+ 1", "block", "counter not advanced"),
    (r"round < 10", "round < 9", "a round too few"),
    (r"0x[0-9A-F]{16}ull", "0x9E3779B97F4A7C17ull", "another constant"),
    (r">= threshold", "> threshold", "threshold off by one"),
    (r"/ 16", "/ 8", "block of another size"),
    (r"i % d\b", "0", "column forgotten"),
    (r"i / d\b", "i % d", "row for column"),
    (r"start \+ places", "places", "start forgotten"),
    (r"i >= 0 && ", "", "lower end not checked"),
    (r" && i < n", "", "upper end not checked"),
    (r"row % queries", "row % heads", "another modulus"),
    (r"row / queries", "row / heads", "another divisor"),
    (r"stride_(example|head|query|key)\b(?=[;)\]])", "1", "stride ignored"),
    (r"label == ignore", "false", "ignored labels counted"),
    (r"v == label", "v == 0", "another class"),
    (r"total > 0\.0f", "true", "0 / 0 where a query may look nowhere"),
    (r"dy\[", "-dy[", "wrong sign"),
    (r"atomicAdd\((.*?), (dy\[i\])\)", r"\1[0] = \2", "lost where ids repeat"),
    (r"0\.7071067811865476f", "0.5f", "wrong constant"), (r"0\.3989422804014327f", "0.5f", "wrong constant"),
    (r"\(long long\)d\b", "(long long)32", "row length fixed"),
    (r"sum > longest", "sum < longest", "comparison turned round"),
    (r"longest / sum", "sum / longest", "quotient turned round"),
)


class Mutant(NamedTuple):
    """One edit of one file."""

    name: str
    source: str


def mutants(file: str, source: str) -> Iterator[Mutant]:
    """Every rule at every place of the code, comments left alone."""
    code = re.sub(r"//[^\n]*", lambda m: " " * len(m.group()), source)
    for pattern, replacement, what in RULES:
        for match in re.finditer(pattern, code):
            line = code.count("\n", 0, match.start()) + 1
            new = match.expand(replacement)
            text = code[:match.start()] + new + code[match.end():]
            yield Mutant(f"{file}:{line} {match.group()!r} -> {new!r} ({what})", text)
