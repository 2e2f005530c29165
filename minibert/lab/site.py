"""One static site of all notebooks: no script, nothing fetched, formulas as MathML.

A page is the notebook's text, its code in colours, and its outputs; `index.html` is the notebooks' README.
"""

import re
from html import escape
from pathlib import Path
from typing import Any

from minibert.errors import InputError
from minibert.files import write_atomically
from minibert.lab.building import needed
from minibert.lab.page import PAGE, STYLE
from minibert.lab.texmath import display, inline

TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
KINDS = ("text/html", "image/svg+xml", "image/png", "text/plain")  # of an output, the first that there is


def write_site(folder: Path, out: Path) -> Path:
    """Write a page for each built notebook, in every language, and the index.  Raises InputError when there is none."""
    built = sorted([*folder.glob("*.ipynb"), *folder.glob("*/*.ipynb")])
    if not built:
        raise InputError(f"{folder} holds no notebook: build them first, with python -m minibert.lab.build")
    for path in built:
        beside = [other for other in built if other.parent == path.parent]
        i = beside.index(path)
        notebook = needed("nbformat").read(path, as_version=4)
        page = _page(title(notebook), notebook_html(notebook), path.parent.name if path.parent != folder else "en",
                     beside[i - 1] if i else None, beside[i + 1] if i + 1 < len(beside) else None)
        write_atomically(out / path.relative_to(folder).with_suffix(".html"), page.encode())
    text = (folder / "README.md").read_text(encoding="utf-8")
    write_atomically(out / "index.html", _page("minibert: the notebooks", markdown_html(text), "en").encode())
    return out / "index.html"


def title(notebook: Any) -> str:
    """The first heading."""
    match = TITLE.search("\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown"))
    return match.group(1) if match else "minibert"


def notebook_html(notebook: Any) -> str:
    """The cells, one after the other."""
    parts = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(markdown_html(cell.source))
        else:
            outputs = "".join(map(output_html, cell.outputs))
            parts.append(f'<div class="cell" id="{escape(cell.id)}">{code_html(cell.source)}{outputs}</div>')
    return "\n".join(parts)


def markdown_html(text: str) -> str:
    """Markdown with formulas; links to notebooks become links to their pages."""
    mistune = needed("mistune")
    render = mistune.create_markdown(escape=False, plugins=["math", "table", "strikethrough"])
    render.renderer.register("block_math", lambda renderer, text: display(text))
    render.renderer.register("inline_math", lambda renderer, text: inline(text))
    html: str = render(text)
    return re.sub(r'href="(?!https?:)([^"]+)\.ipynb', r'href="\1.html', html)


def code_html(source: str) -> str:
    """Python in colours."""
    needed("pygments")
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    coloured: str = highlight(source, PythonLexer(), HtmlFormatter(cssclass="code"))
    return coloured


def output_html(output: Any) -> str:
    """One output."""
    if output.output_type == "stream":
        return f'<pre class="out">{escape(output.text)}</pre>'
    kind = next((kind for kind in KINDS if kind in output.get("data", {})), "")
    content = output.data[kind] if kind else "\n".join(output.get("traceback", []))
    if kind == "image/png":
        return f'<div class="out"><img alt="figure" src="data:image/png;base64,{content.strip()}"></div>'
    if kind in ("text/html", "image/svg+xml"):
        return f'<div class="out">{content}</div>'
    return f'<pre class="out">{escape(content)}</pre>'


def _page(title: str, body: str, language: str, before: Path | None = None, after: Path | None = None) -> str:
    links = [f'<a href="{"" if language == "en" else "../"}index.html">all notebooks</a>']
    links += [f'<a href="{path.stem}.html">{sign.format(path.stem.replace("_", " "))}</a>'
              for path, sign in ((before, "← {}"), (after, "{} →")) if path is not None]
    needed("pygments")
    from pygments.formatters import HtmlFormatter

    style = STYLE + HtmlFormatter(style="default").get_style_defs(".code")
    return PAGE.format(language=language, title=escape(title), style=style, links=" · ".join(links), body=body)
