"""The site needs no script and no network, and every formula of the notebooks is drawn."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from minibert.errors import InputError
from minibert.lab.building import execute
from minibert.lab.site import markdown_html, write_site
from minibert.lab.sources import EQUATION, names
from minibert.lab.texmath import display, inline

for library in ("nbformat", "mistune", "pygments", "latex2mathml"):
    pytest.importorskip(library, reason="the extra `notebooks` is not installed")

FOLDER = Path(__file__).parents[2] / "notebooks"
INLINE = re.compile(r"(?<!\$)\$(?!\s|\$)([^$]+?)(?<!\s)\$(?!\$)")


@pytest.mark.parametrize("path", sorted((FOLDER / "sources").glob("*/*.md")), ids=str)
def test_every_formula_of_a_text_is_drawn(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    html = markdown_html(text)
    assert html.count('class="equation"') == len(EQUATION.findall(text))
    assert html.count("<math>") == len(INLINE.findall(re.sub(r"`[^`]*`", "", EQUATION.sub("", text))))
    assert "$" not in re.sub(r"<code>.*?</code>", "", html, flags=re.DOTALL)


def test_the_site_fetches_nothing(tmp_path: Path) -> None:
    index = write_site(FOLDER, tmp_path)
    pages = sorted(path.name for path in tmp_path.glob("*.html"))
    assert index.name in pages and [f"{name}.html" for name in names(FOLDER)] == [p for p in pages if p != index.name]
    for path in tmp_path.glob("*.html"):
        html = path.read_text(encoding="utf-8")
        assert "<script" not in html and "@import" not in html and "url(" not in html
        assert not re.search(r'<(?:img|link|iframe|source)\b[^>]+(?:src|href)="(?!data:)', html)


def test_links_inside_the_site_lead_somewhere(tmp_path: Path) -> None:
    write_site(FOLDER, tmp_path)
    for path in tmp_path.rglob("*.html"):
        assert '.ipynb"' not in path.read_text(encoding="utf-8")
        for link in re.findall(r'<a href="([^"#:]+\.html)', path.read_text(encoding="utf-8")):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_tags_stand_at_the_right_and_lines_below_each_other() -> None:
    html = display(r"\begin{aligned} a &= b \\ c &= \frac{d}{e} \end{aligned} \tag{3'}")
    root = ElementTree.fromstring(html)
    assert len(root.findall(".//mtr")) == 2 and len(root.findall(".//mtd")) == 4
    assert root[1].text == "(3')" and "tag" not in ElementTree.tostring(root[0], encoding="unicode")


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(InputError, match=r"\\\\foo"):
        inline(r"a \foo b")
    with pytest.raises(InputError):
        display(r"a & b")


def test_pages_of_a_folder_without_notebooks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"build them first"):
        write_site(tmp_path, tmp_path / "site")


def test_a_cell_that_fails_stops_the_build() -> None:
    nbclient = pytest.importorskip("nbclient", reason="the extra `notebooks` is not installed")
    pytest.importorskip("ipykernel", reason="the extra `notebooks` is not installed")
    from nbformat.v4 import new_code_cell, new_notebook

    with pytest.raises(nbclient.exceptions.CellExecutionError, match="ZeroDivisionError"):
        execute(new_notebook(cells=[new_code_cell("1 / 0")]))
