"""Any Python debugger works as it is: it stops in a backward, sees the formula's names, and steps by operations."""

import os
import subprocess
import sys
from pathlib import Path

import minibert
import minibert.graph
import minibert.ops.attention

from .dap import Editor

VICTIM = Path(__file__).with_name("victim.py")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(minibert.__file__).parents[1])}
ATTENTION = "<attention (2, 3, 7, 4) in bert.encoder.layer.{}.attention.self, called at {}:11>"


def pdb(*commands: str) -> list[str]:
    """What pdb answers to each command, on the victim."""
    marks = [line for command in commands for line in (command, "print('--')")]
    done = subprocess.run([sys.executable, "-m", "pdb", str(VICTIM)], input="\n".join([*marks, "q", ""]), timeout=100,
                          capture_output=True, encoding="utf-8", env=ENVIRONMENT)
    answers = done.stdout.split("--\n")
    return [answer.replace("(Pdb) ", "").strip() for answer in answers]


def test_pdb_stops_in_a_backward_and_one_up_steps_by_operations() -> None:
    _, stop, stopped, names, _, node, about, calls, after, done, _, _, other, _ = pdb(
        "import minibert", "b minibert.ops.attention.attention_backward", "c",
        "p [x.shape for x in (dcontext, q, k, v, probs)]", "up", "p node",
        "p node.module, node.shape, node.op.gradient", "node.forward_frame()", "next",
        "p [d.shape for d in gradients]", "c", "up", "p node")
    assert "Breakpoint 1 at" in stop and "attention_backward()" in stopped
    assert names == "[(2, 3, 7, 4), (2, 3, 7, 4), (2, 3, 7, 4), (2, 3, 7, 4), (2, 3, 7, 7)]"
    assert node == ATTENTION.format(1, VICTIM)
    assert about.startswith("('bert.encoder.layer.1.attention.self', (2, 3, 7, 4), ") and "dv" in about
    assert f'File "{VICTIM}", line 11, in <module>' in calls and "in SelfAttention.forward" in calls
    assert "context = F.attention(q, k, v, mask" in calls
    assert "backpropagate()" in after and "node.release(caller)" in after
    assert done == "[(2, 3, 7, 4), (2, 3, 7, 4), (2, 3, 7, 4)]"
    assert other == ATTENTION.format(0, VICTIM)


def test_an_editor_stops_in_a_backward_and_steps_out_into_the_loop() -> None:
    with Editor(VICTIM, ENVIRONMENT) as editor:
        editor.request("setFunctionBreakpoints", breakpoints=[{"name": "attention_backward"}])
        editor.request("configurationDone")
        backward, loop = editor.frames()[:2]
        assert (backward["name"], loop["name"]) == ("attention_backward", "backpropagate")
        assert {"dcontext", "q", "k", "v", "probs"} <= editor.variables(backward).keys()
        assert editor.evaluate("probs.shape", backward) == "(2, 3, 7, 7)"
        assert editor.evaluate("node", loop) == ATTENTION.format(1, VICTIM)
        assert editor.variables(loop)["node"] == ATTENTION.format(1, VICTIM)
        editor.request("stepOut", threadId=editor.thread)
        loop = editor.frames()[0]
        assert loop["name"] == "backpropagate"
        editor.request("next", threadId=editor.thread)
        loop = editor.frames()[0]
        assert editor.evaluate("[d.shape for d in gradients]", loop) == "[(2, 3, 7, 4), (2, 3, 7, 4), (2, 3, 7, 4)]"
