"""Every tool is found under minibert.debug, by its own name, and nothing is imported before it is asked for."""

import subprocess
import sys

import pytest

import minibert.debug


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
