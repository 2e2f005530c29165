"""`minibert replay`, as typed."""

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from train.process import ENVIRONMENT

from minibert import InputError
from minibert.debug.commands.replay import add_replay
from minibert.debug.replaying.replay import replay
from minibert.debug.replaying.text import summary

from .places import place_of

Say = Callable[..., str]
SCRIPT = """\
import argparse
from minibert.debug.commands.replay import add_replay
parser = argparse.ArgumentParser(prog="minibert")
add_replay(parser.add_subparsers())
options = parser.parse_args()
raise SystemExit(options.run(options))
"""


@pytest.fixture
def say(run: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """What `minibert replay RUN ...` prints; every line fits into 80 columns, but for the figure's path."""

    def command(*arguments: str) -> str:
        parser = argparse.ArgumentParser()
        add_replay(parser.add_subparsers())
        options = parser.parse_args(["replay", str(run), *arguments])
        assert options.run(options) == 0
        output = capsys.readouterr().out
        assert max(len(line) for line in output.splitlines() if not line.startswith("figure")) <= 80
        return output

    return command


def test_a_summary_tells_the_step(say: Say, run: Path) -> None:
    step = replay(run, 1).step
    text = say("--step", "1")
    assert text.startswith("step 1 of 40, from the beginning of the run\n")
    assert "batch: 10 pairs of up to 24 tokens" in text and "in 5 micro-batches" in text
    assert "to clip it to 1" in text and "\nlr        0.00666667\n" in text
    assert "verified: the bits of the training loop here" in text and "largest updates" in text
    token, ids, labels = step.loaded.tokenizer.token, step.batch["input_ids"][0], step.batch["labels"][0]
    place = int((labels >= 0).nonzero()[0][0])
    assert f"{token(int(ids[place]))}({place}\N{NO-BREAK SPACE}{token(int(labels[place]))})" in text
    loss = sum(loss.item() for loss in replay(run, 1).parts)
    assert f"loss      {loss:.4f}"[:-1] in text


def test_without_a_number_it_is_the_step_after_the_last_save(say: Say) -> None:
    assert say().startswith("step 41 of 40, from the save after step 40 in training_state.safetensors\n")


def test_colours_mark_what_was_verified(run: Path) -> None:
    replayed = replay(run, 1)
    timeline = replayed.run(keep=False)
    assert "\033[32mverified" in summary(replayed.step, timeline, 80, True)
    assert "\033" not in summary(replayed.step, timeline, 80, False)
    timeline.verified = "NOT the bits of the run"
    assert "\033[31mNOT" in summary(replayed.step, timeline, 80, True)


def test_every_operation_is_listed_with_its_norms(say: Say, run: Path) -> None:
    everything, part = say("--step", "1", "--ops"), say("--step", "1", "--ops", "--part", "3")
    timeline = replay(run, 1).run()
    assert everything.count("|y|") == 5 * 33 and everything.count("forward of micro-batch") == 5
    assert part.count("forward of micro-batch") == part.count("forward of micro-batch 3") == 1
    record = timeline.find("bert.pooler:tanh", part=3)
    norm = f"|y|\N{NO-BREAK SPACE}{record.norms['y']:.4g}"
    assert f"  bert.pooler:tanh  2x16\n      {norm}  {place_of('models/bert.py', 'F.tanh')}\n" in part
    assert "|m|" in part and "\n  clip factor  ()\n" in part


def test_a_change_is_compared_and_drawn(say: Say, tmp_path: Path) -> None:
    figure = tmp_path / "growth.png"
    text = say("--step", "1", "--set-token", "3", "5", "bama", "--set-weight", "cls.predictions.bias", "3", "-0.5",
               "--set-lr", "0.1", "--set-eps", "1e-3", "--figure", str(figure))
    title = text.partition("\n\n")[0].replace("\n", " ")
    assert title == ("step 1 beside step 1 with token 5 of example 3 = bama and cls.predictions.bias[3] = -0.5 and "
                     "learning rate = 0.1 and AdamW's eps = 0.001")
    assert "first difference: forward of micro-batch 0\n  cls.predictions:linear\n" in text
    assert "step 1 itself: verified" in text.replace("\n", " ")
    assert figure.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"growth.png exists already: name another file with --figure"):
        say("--step", "1", "--set-lr", "0.1", "--figure", str(figure))


@pytest.mark.parametrize(("arguments", "message"), [
    (["--step", "0"], "has no step 0: its steps are 1 .. 40"),
    (["--step", "1", "--part", "5"], "--part 5: step 1 has micro-batches 0 .. 4"),
    (["--step", "1", "--set-token", "one", "5", "bama"], "--set-token needs a whole number where you wrote 'one'"),
    (["--step", "1", "--set-weight", "cls.predictions.bias", "3", "much"], "--set-weight needs a number where"),
    (["--step", "1", "--figure", "x.png"], "give a change"),
    (["--step", "1", "--set-lr", "1", "--figure", "x.pdf"], "must end in .png"),
    (["--step", "1", "--set-lr", "1", "--figure", "x.png", "--ops"], "--ops and --pdb show none"),
    (["--step", "1", "--set-lr", "-1"], "at least 0")])
def test_a_mistake_is_answered_with_a_sentence(arguments: list[str], message: str, say: Say) -> None:
    with pytest.raises(InputError, match=message):
        say(*arguments)


def pdb(run: Path, commands: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", SCRIPT, "replay", str(run), "--pdb", *arguments], input=commands,
                          env=ENVIRONMENT, encoding="utf-8", capture_output=True, timeout=100, check=False)


def test_a_session_in_the_debugger_reaches_the_backward_of_attention(run: Path) -> None:
    done = pdb(run, "p loss.shape, step.number, optimizer.steps, len(batch['labels'])\n"
               "b minibert.ops.attention.attention_backward\nc\np dcontext.shape\nup\np node\nq\n",
               "--step", "1", "--part", "1")
    assert done.returncode == 0 and done.stderr == ""
    answers = done.stdout.split("(Pdb) ")
    hint = answers[0].partition("\n\n> ")[0].splitlines()
    assert hint[0] == "Step 1, micro-batch 1 of 0 .. 4, after its forward pass; next: loss.backward()"
    assert "  b minibert.ops.attention.attention_backward" in hint and max(map(len, hint)) <= 80
    assert answers[0].rstrip().endswith(("-> loss.backward()", "-> pdb.Pdb().set_trace()"))  # since Python 3.13
    assert answers[1] == "((), 1, 0, 2)\n"
    assert answers[2].startswith("Breakpoint 1 at ") and "attention_backward()" in answers[3]
    assert answers[4].startswith("(2, 2, ") and answers[4].endswith(", 8)\n")
    assert "backpropagate()" in answers[5] and "op.backward(dy, *node.saved" in answers[5]
    assert answers[6].startswith("<attention (2, 2, ") and "in bert.encoder.layer.0.attention.self" in answers[6]
    assert answers[7] == "left before the end of the backward pass\n"


def test_a_session_that_goes_on_or_ends_early_ends_well(run: Path) -> None:
    done = pdb(run, "c\n")
    assert done.returncode == 0 and done.stdout.endswith("the backward pass is over\n") and done.stderr == ""
    done = pdb(run, "")
    assert done.returncode == 0 and "left before the end" in done.stdout and done.stderr == ""
