"""Bugs to plant in the CUDA kernels, one edit each: what a tired colleague might write.

RULES are applied at every place of the code that they fit; SUBTLE bugs were thought of for one kernel. As a program,
this judges mutants, each in a process of its own: by name, a source and the kernels to check come as JSON on stdin, and
a verdict goes to stdout.
"""

import json
import os
import re
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .cuda_on_cpu.simulator import KernelError, Module
from .kernel_checks import CHECKS, FOLDER, Run

SURVIVED = "survived"
VERDICTS = (SURVIVED, "wrong numbers", "illegal addresses", "stuck barriers")
BROKEN = len(VERDICTS)  # the exit status where a mutant does not compile, or a check is wrong itself
KILLED = {-signal.SIGALRM: "endless loops", -signal.SIGSEGV: "crashes", -signal.SIGABRT: "crashes"}
PATIENCE = 15  # seconds that one check may take: none needs more than one where nobody else computes
SOURCES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.cu"))}
FUNCTION = re.compile(r"(?:__global__ void|__device__ (?:inline )?\w+) (\w+)\(|#define (\w+)")
RULES = (  # pattern, replacement, what it is
    # threads, blocks, loops
    (r"__syncthreads\(\);", "", "barrier forgotten"),
    (r"block_(?:sum|max)\((\w+)\)", r"\1", "each thread keeps its own"),
    (r"shfl_xor", "shfl_down", "only one lane has the sum"),
    (r"(?<=; )(\w+) < (d|n|keys|classes|rows|all|blocks)(?=[;)])", r"\1 <= \2", "one too many"),
    (r"(?<=; )(\w+) < (d|n|keys|classes|rows|blocks)(?=;)", r"\1 < \2 - 1", "one too few"),
    (r"(?<!define )FOR_EACH\(i, ([^()]+)\)", r"FOR_EACH(i, \1 + 1)", "one too many"),
    (r"(?<!define )FOR_EACH\(i, ([^()]+)\)", r"FOR_EACH(i, \1 - 1)", "one too few"),
    (r"\+= blockDim\.x\)", "+= 32)", "stride of a warp, not of the block"),
    (r"\+= gridDim\.x \* ", "+= ", "stride of a block, not of the grid"),
    (r"blockIdx\.x \*", "0 *", "every block at the same row"),
    (r"(?<=\+= )row \*", "0 *", "every block at the same row"),
    (r"\(long long\)(d|keys|classes)\b", "32", "row length fixed"),
    (r"threadIdx\.x == 0\)", "threadIdx.x == blockDim.x)", "a thread that is not there writes"),
    (r"lanes = 16", "lanes = 8", "half of the warp"),
    (r"\+= 8", "+= 4", "rows counted twice"),
    (r"k < 8", "k < 7", "last partial sum forgotten"),
    (r" && (?:i < n|column < d)", "", "upper end not checked"),
    (r"(?:i >= 0|here < n) && ", "", "end not checked"),
    (r"if \((?:\*?\w+|\*?\w+ [<>=]+ \w+)\) return;", "", "early return forgotten"),
    # arithmetic
    (r" \+= (?!blockDim|gridDim|\d|row \*|example \*)", " = ", "assigned, not added"),
    (r"(?<=[ (])dy\[", "-dy[", "wrong sign"),
    (r"\bexpf\(", "sqrtf(", "another function"),
    (r" - (?:sum|shift|mean|largest)\b", "", "not subtracted"),
    (r" - xhat\[row \+ i\] \* scale\b", "", "projection missing"),
    (r"fmaxf\(largest", "fminf(largest", "smallest for largest"),
    (r"NEGATIVE_INFINITY(?=[,;)])", "0.0f", "maximum begins at 0"),
    (r"0xff800000u", "0x7f800000u", "the other infinity"),
    (r" / d\b", " / (d - 1)", "unbiased"),
    (r" \* (?:scale|survivors|clip)\b", "", "factor missing"),
    (r"keep\[([^\]]*)\] \?", r"!keep[\1] ?", "mask inverted"),
    (r"keep\[(?:row|start) ", "keep[0 ", "mask of the first row"),
    (r"(?<=[ (])gamma\[i\]", "1.0f", "gain missing"),
    (r" \+ (?:beta\[i\]|bias\[i % d\]|eps)", "", "term missing"),
    (r"1\.0f - b(\d)", r"b\1", "moment's weight"),
    (r" / correction\d", "", "bias correction missing"),
    (r"i < decayed", "i <= decayed", "one too many decays"),
    (r"sum > longest", "sum < longest", "comparison turned round"),
    (r"longest / sum", "sum / longest", "quotient turned round"),
    (r"0\.7071067811865476f", "0.707f", "digits missing"),
    (r"0\.3989422804014327f", "0.399f", "digits missing"),
    # places
    (r"i % d\b", "0", "column forgotten"),
    (r"i % d\b", "i / d", "column for row"),
    (r"i / d\b", "i % d", "row for column"),
    (r"row % queries", "row % heads", "another modulus"),
    (r"row / queries", "row / heads", "another divisor"),
    (r"(?<=[*)] )stride_(?:example|head|query)\b|(?<=\))stride_key\b", "1", "stride ignored"),
    (r"label == ignore", "false", "ignored labels counted"),
    (r"v == label", "v == 0", "another class"),
    (r"fmaxf\(\*count, 1\.0f\)", "*count", "0 / 0 where nothing is labelled"),
    (r"atomicAdd\((.*?), (dy\[i\])\)", r"(\1)[0] = \2", "lost where ids repeat"),
    # random numbers
    (r"start \+ places", "places", "start forgotten"),
    (r"int k = 0; k < 16", "int k = 1; k < 16", "first word forgotten"),
    (r"round < 10", "round < 9", "a round too few"),
    (r"0x[0-9A-F]{16}ull", "0x9E3779B97F4A7C17ull", "another constant"),
    (r">= threshold", "> threshold", "threshold off by one"),
    (r"/ 16 (?=[-+])", "/ 8 ", "block of another size"),
)
SUBTLE = (  # where, what is replaced, by what, what it is
    ("philox", "block + 1, step,", "(unsigned)(block + 1), step,", "a counter without its carry"),
    ("philox", "block + 1, step,", "block, step,", "counter not advanced"),
    ("philox", "block + 1, step, 0", "block + 1, 0, step", "step in another word of the counter"),
    ("philox", "high0 ^ c.w[3] ^ site", "high0 ^ c.w[3] ^ seed", "both words of the key the same"),
    ("philox", "{{high1 ^ c.w[1] ^ seed, low1,", "{{low1, high1 ^ c.w[1] ^ seed,", "words not permuted"),
    ("keep_mask", "philox(start / 16 + block", "philox((int)(start / 16) + block", "a place in 32 bits"),
    ("keep_mask", "16 * (k % 4)", "16 * (3 - k % 4)", "words read from the other end"),
    ("keep_mask", "(start + n + 15)", "(n + 15)", "the blocks that start moves in forgotten"),
    ("keep_mask", "(start + n + 15)", "(start + n)", "a last block that is not full forgotten"),
    ("keep_rows", "long long place", "int place", "a place in 32 bits"),
    ("keep_rows", "place % 16 / 4", "i % 16 / 4", "the word of another number"),
    ("drop", ": 0.0f", ": x[i]", "nothing dropped"),
    ("gelu", "erff(x[i] * 0.7071067811865476f)",
     "tanhf(0.7978845608f * (x[i] + 0.044715f * x[i] * x[i] * x[i]))", "the approximation by tanh"),
    ("gelu_backward", "x[i] * 0.398", "0.398", "the factor x before the density"),
    ("gelu_backward", "-0.5f * x[i] * x[i]", "-0.5f * x[i]", "a square missing"),
    ("bias_gelu", "h[i] = z;", "h[i] = x[i];", "backward is given x without its bias"),
    ("masked_softmax", "if (!mask || mask[s * (long long)stride_key]) largest", "largest",
     "the maximum of what the mask forbids"),
    ("masked_softmax", "looks ? expf(scores[s] * scale - largest) : 0.0f",
     "expf(scores[s] * scale - largest - (looks ? 0.0f : 10000.0f))", "a large negative number for the mask"),
    ("masked_softmax", "total > 0.0f ? 1.0f / total : 0.0f", "1.0f / total", "0 / 0 where a query may look nowhere"),
    ("masked_softmax", "example * stride_example + head * stride_head", "example * stride_head + head * stride_example",
     "strides exchanged"),
    ("masked_softmax", "mask[s * (long long)stride_key];", "mask[s];", "a mask broadcast over keys read as dense"),
    ("masked_softmax", "mask[s * (long long)stride_key];", "mask[s * stride_query];", "row stride for column stride"),
    ("masked_softmax", "? p[s] * survivors : 0.0f", "? p[s] * survivors : p[s]", "nothing dropped"),
    ("masked_softmax_backward", "sum += dp *", "sum += ddropped[start + s] *", "dropout not undone in the sum"),
    ("masked_softmax_backward", "sum += dp * p[start + s]", "sum += dp", "probability missing in the sum"),
    ("first_of_id", "&& !before", "", "what the last block of ids says, not any"),
    ("first_of_id", "n < blockIdx.x &&", "n <= blockIdx.x &&", "every place has its own id before it"),
    ("first_of_id", "__syncthreads_or(n < blockIdx.x && ids[n] == ids[blockIdx.x])",
     "(n < blockIdx.x && ids[n] == ids[blockIdx.x])", "one thread's answer for all"),
    ("embedding_backward", "if (!first[blockIdx.x]) return;", "", "every place of an id adds what comes after it"),
    ("embedding_backward", "start = blockIdx.x + threadIdx.y * 32", "start = blockIdx.x", "every warp the same places"),
    ("embedding_backward", "start += 8 * 32", "start += 32", "places counted several times"),
    ("embedding_backward", "start += 8 * 32", "start += 16 * 32", "every other piece forgotten"),
    ("embedding_backward", "place < n && ids[place]", "ids[place]", "ids read behind the last"),
    ("embedding_backward", "__ffs(found) - 1", "__ffs(found)", "the row after"),
    ("embedding_backward", "found &= found - 1", "found = 0", "only the first of 32 places"),
    ("embedding_backward", "found &= found - 1", "found >>= 1", "bits renumbered"),
    ("embedding_backward", "dtable[id * d + column]", "dtable[blockIdx.x * d + column]", "place for id"),
    ("embedding_backward", "blockIdx.y * 32", "blockIdx.y * 8", "columns of another block"),
    ("cross_entropy", "logf(total) + largest", "logf(total)", "largest subtracted and not added again"),
    ("cross_entropy", "if (threadIdx.x == 0) surprise", "if (blockIdx.x == 0) surprise", "block for thread"),
    ("add_norm", "sum) / d + eps)", "sum) / d) + eps", "eps outside the root"),
    ("add_norm", "sum += centred * centred;", "sum += xhat[row + i] * xhat[row + i] - mean * mean;",
     "the variance as a difference of two large numbers"),
    ("add_norm", "sum += s;", "sum += x[row + i];", "the mean of another sum"),
    ("add_norm", "bias ? h[row + i] + bias[i] : h[row + i]", "h[row + i]", "bias forgotten"),
    ("add_norm", "bias[i]", "bias[0]", "one bias for all columns"),
    ("add_norm", "bias ? h[row + i] + bias[i]", "keep && bias ? h[row + i] + bias[i]", "no bias without dropout"),
    ("add_norm_backward", "shift += dxhat;", "shift += dy[row + i];", "gain missing in the mean"),
    ("add_norm_backward", "rstd[blockIdx.x]", "rstd[0]", "the scale of the first row"),
    ("add_norm_backward", "ds[row + i] = s;", "ds[row + i] = keep ? s * survivors : s;", "dropout where there is none"),
    ("column_sums", "long long r = begin + threadIdx.y", "long long r = begin", "every thread begins at the first row"),
    ("column_sums", "if (column < d)\n", "if (column >= d) return;\n", "threads that leave before a barrier"),
    ("column_sums", "r += 8", "r = 8", "a loop that never ends"),
    ("column_sums", "blockIdx.y * (long long)chunk", "0", "every chunk from the first row"),
    ("column_sums", "begin + chunk < rows ? begin + chunk : rows", "rows", "every chunk to the last row"),
    ("column_sums", "begin + chunk < rows ? begin + chunk : rows", "begin + chunk", "rows behind the last"),
    ("column_sums", "dbeta[blockIdx.y * d + column]", "dbeta[column]", "every chunk in one place"),
    ("column_sums", "of_beta[k]", "of_gamma[k]", "the partial sums of the other"),
    ("square_sums", "g[i] * g[i]", "fabsf(g[i])", "another norm"),
    ("norm_and_clip", "sqrtf(block_sum(sum))", "block_sum(sum)", "root missing"),
    ("norm_and_clip", "finite(sum) && ", "", "a norm that is no number is let through, if the limit is infinite"),
    ("norm_and_clip", "sum <= *limit", "sum < *limit * 1e30f", "no limit"),
    ("norm_and_clip", "if (!sound) *halted = 1;", "*halted = !sound;", "goes on after one bad step"),
    ("norm_and_clip", "*halted ? -1.0f", "!sound ? -1.0f", "later steps change the weights"),
    ("norm_and_clip", "sound = sound && finite", "sound = finite", "only the last loss counts"),
    ("norm_and_clip", "i < count", "i < 1", "only the first loss counts"),
    ("adamw", "if (clip < 0.0f) return;", "", "a halted training goes on"),
    ("adamw", "(sqrtf(second / correction2) + eps)", "sqrtf(second / correction2 + eps)", "eps inside the root"),
    ("adamw", "gradient * gradient", "g[i] * g[i]", "second moment of what was not clipped"),
    ("adamw", "(1.0f - lr * decay)", "(1.0f - decay)", "decay without the learning rate"),
    ("adamw", "weight - lr", "w[i] - lr", "decay forgotten"),
    ("adamw", "(first / correction1)", "(gradient / correction1)", "momentum forgotten"),
)


class Mutant(NamedTuple):
    """One edit of one function."""

    name: str  # which function, what became what; (2) for the second such edit in it
    what: str
    function: str
    source: str  # all that must be built
    kernels: tuple[str, ...]  # all that the edit can reach


def functions(code: str) -> Iterator[tuple[str, int, int]]:
    """Name, begin and end of each function or macro."""
    found = list(FUNCTION.finditer(code))
    for match, following in zip(found, [*found[1:], None], strict=True):
        yield match[1] or match[2], match.start(), following.start() if following else len(code)


def kernels_in(code: str) -> tuple[str, ...]:
    return tuple(re.findall(r"__global__ void (\w+)\(", code))


def edits(code: str) -> Iterator[tuple[str, int, int, str, str]]:
    """Every edit of one file: the function, begin and end of what is replaced, by what, and what it is."""
    for function, begin, end in functions(code):
        for pattern, replacement, what in RULES:
            for match in re.finditer(pattern, code):
                if begin <= match.start() < end:
                    yield function, *match.span(), match.expand(replacement), what
        for where, old, new, what in SUBTLE:
            if where == function:
                place = code.find(old, begin, end)
                assert place >= 0, f"{where} has no {old!r} any more: plant that bug another way"
                yield function, place, place + len(old), new, what


def mutants() -> Iterator[Mutant]:
    """Every bug, comments left alone."""
    for file, source in SOURCES.items():
        code = re.sub(r"//[^\n]*", lambda m: " " * len(m.group()), source)
        others = "".join(text for name, text in SOURCES.items() if name not in (file, "common"))
        before, after = ("", others) if file == "common" else (SOURCES["common"], "")
        own, seen = kernels_in(code + after), Counter[str]()
        for function, begin, end, new, what in edits(code):
            name = f"{function}: {code[begin:end].strip()} -> {new.strip() or 'nothing'}"
            seen[name] += 1
            yield Mutant(f"{name} ({seen[name]})" if seen[name] > 1 else name, what, function,
                         before + code[:begin] + new + code[end:] + after, (function,) if function in own else own)


def wrong(source: str, kernels: list[str]) -> str:
    """What the first check that fails finds wrong with these kernels; SURVIVED when all pass, under every schedule."""
    module = Module(source)
    for schedule in ("greedy", "forward", "reverse", "shuffled"):
        for name in kernels:
            signal.alarm(PATIENCE)
            try:
                with module.schedule(schedule, seed=1):
                    CHECKS[name](Run(module, schedule in ("reverse", "greedy"), np.random.default_rng(5)))
            except AssertionError:
                return "wrong numbers"
            except KernelError as error:
                return "illegal addresses" if "illegal address" in str(error) else "stuck barriers"
    signal.alarm(0)
    return SURVIVED


def judged(source: str, kernels: list[str]) -> str:
    """What is wrong with a mutant, found by a process that it may crash or never leave; SURVIVED if nothing is."""
    process = os.fork()
    if process == 0:
        status = BROKEN
        try:
            status = VERDICTS.index(wrong(source, kernels))
        except BaseException:
            traceback.print_exc()
        os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if status == BROKEN:
        raise RuntimeError("a mutant cannot be judged: see above")
    return KILLED[status] if status < 0 else VERDICTS[status]


if __name__ == "__main__":
    print(json.dumps({name: judged(source, kernels) for name, (source, kernels) in json.load(sys.stdin).items()}))
