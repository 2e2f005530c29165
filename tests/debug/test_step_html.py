"""Pages are whole, stand alone, and show text as text."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from models.toys import toy_batch, toy_model

from minibert import InputError
from minibert import functional as F
from minibert.debug.stepping import Stepper, step
from minibert.nn.recompute import recompute

from .test_step import leaf

VOID = {"meta", "br", "mspace"}


class Page(HTMLParser):
    """What stands in a page; raises where a tag is not closed by its own end."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def toy() -> Stepper:
    walk = step(toy_model().train()(**toy_batch()).loss)
    walk.until("backward attention")
    return walk


@pytest.mark.parametrize("show", [lambda w: w.event._repr_html_(), lambda w: w._repr_html_(), lambda w: w.to_html()])
def test_html_is_static_and_stands_alone(show: Callable[[Stepper], str], toy: Stepper) -> None:
    html = show(toy)
    page = Page(html)
    assert not {"script", "link", "img", "iframe", "style"} & set(page.tags)
    assert "http" not in html and "javascript" not in html and not re.search(r"\son\w+=", html) and "url(" not in html


def test_an_event_shows_what_its_text_shows(toy: Stepper) -> None:
    page = Page(toy.event._repr_html_())
    assert "math" in page.tags
    for value in toy.event.values:
        assert value.label in page.text and value.note in page.text
    for fact in ("backward", "attention", "bert.encoder.layer.1.attention.self", "q (7, 3, 11, 5)", "p = 0.3",
                 toy.event.node.op.shapes, "nn/attention.py"):
        assert fact in page.text, fact


def test_the_strip_has_two_steps_for_each_operation_and_marks_the_current_one(toy: Stepper) -> None:
    html = toy._repr_html_()
    steps = [int(n) for n in re.findall(r'title="step (\d+):', html)]
    assert sorted(steps) == list(range(1, len(toy) + 1))
    assert all(a + b == len(toy) + 1 for a, b in zip(steps[::2], steps[1::2], strict=True))  # above each other
    (current,) = re.findall(r'background:#1f2328;opacity:[\d.]+" title="step (\d+)', html)
    assert int(current) == toy.number


def test_a_page_has_every_event_or_those_that_were_chosen(toy: Stepper, tmp_path: Path) -> None:
    page = Page(toy.page(tmp_path / "walk.html").read_text(encoding="utf-8"))
    assert page.tags.count("details") == page.tags.count("summary") == len(toy) == page.tags.count("math")
    chosen = Page(toy.to_html(event for event in toy if event.node.op.name == "attention"))
    assert chosen.tags.count("details") == 4
    with pytest.raises(InputError, match="cannot write"):
        toy.page(tmp_path / "walk.html" / "below.html")


def test_names_and_numbers_are_shown_as_they_are() -> None:
    x = leaf('<b>&"x', [np.nan, np.inf, -2.0])
    html = step(F.tanh(x).sum()).to_html()
    page = Page(html)
    assert "b" not in page.tags and '<b>&"x' in page.text and "NaN or infinity in x, y" in page.text
    assert re.search(r"font-weight:600[^>]*>nan<", html)
    w = leaf("<i>w", [3.0, 5.0, 7.0])
    page = Page(step(recompute(lambda t: t * w, leaf("x", [1.0, 2.0, 3.0])).sum()).to_html())
    assert "i" not in page.tags and "first contribution to <i>w" in page.text and "d<i>w" in page.text
