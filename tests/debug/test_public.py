"""Every tool is found under minibert.debug, by its own name, and nothing is imported before it is asked for."""

import subprocess
import sys

import pytest
from models.toys import toy_batch, toy_model

import minibert.debug
from minibert import InputError


@pytest.mark.parametrize("name", minibert.debug.__all__)
def test_a_tool_is_a_function_of_its_name(name: str) -> None:
    tool = getattr(minibert.debug, name)
    assert callable(tool) and tool.__name__ == name and tool.__doc__
    assert (name in dir(minibert.debug) and name in (minibert.debug.__doc__ or "")) or name in (
        "audit_pairs", "cards", "check_op", "compare", "gradcheck")


def test_no_other_name_is_made_up() -> None:
    with pytest.raises(AttributeError, match="no attribute 'debugger'"):
        minibert.debug.debugger  # noqa: B018


def test_the_command_line_imports_no_tool_before_it_is_asked_for() -> None:
    code = ("import sys, minibert.cli; print([m for m in sys.modules if m.startswith('minibert.debug.') and "
            "'commands' not in m], 'matplotlib' in sys.modules, 'minibert.train.pretrain' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "[] False False"


@pytest.mark.parametrize("name", ["bisect", "blame", "check", "draw_graph", "gradient_flow", "ledger", "step"])
def test_what_is_no_loss_is_refused_in_the_same_words(name: str) -> None:
    tool = getattr(minibert.debug, name)
    with pytest.raises(InputError, match=r"PreTrainingOutput is no tensor .* pass its loss, output\.loss"):
        tool(toy_model()(**toy_batch()))
    for wrong in (None, 3.0, "loss"):
        with pytest.raises(InputError, match=f"a {type(wrong).__name__} is no tensor and has no graph to look into"):
            tool(wrong)


@pytest.mark.parametrize("name", ["bisect", "ledger"])
def test_a_function_that_gives_no_loss_is_refused(name: str) -> None:
    arguments = [toy_model()] if name == "bisect" else []
    with pytest.raises(InputError, match="a float is no tensor"):
        getattr(minibert.debug, name)(lambda: 3.0, *arguments)
