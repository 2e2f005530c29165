"""Build the notebooks, and what is made from them and from the registry: python -m minibert.lab.build --help."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from minibert.errors import InputError
from minibert.lab.building import build
from minibert.lab.copying import shipped
from minibert.lab.formula_table import write_table
from minibert.lab.sources import LANGUAGE, languages, names

ABOUT = """\
Build the notebooks from notebooks/sources: put together, run, write with outputs. In a clone of the repository.

  python -m minibert.lab.build                 all of them
  python -m minibert.lab.build 04              one
  python -m minibert.lab.build --site site     a static site of the built ones; nothing is run
  python -m minibert.lab.build --table README.md   put the table of formulas, operations and notebooks there"""


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when all was built, 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m minibert.lab.build", description=ABOUT,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="*", metavar="NN", help="which notebooks, by number [all]")
    parser.add_argument("--language", default=LANGUAGE, metavar="CODE", help="of the text [%(default)s]")
    parser.add_argument("--site", type=Path, metavar="FOLDER", help="write a static HTML site into this folder")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the table of formulas into this file")
    options = parser.parse_args(arguments)
    try:
        folder = shipped()
        if options.table:
            write_table(options.table, folder)
            return 0
        if options.site:
            from minibert.lab.site import write_site

            print(f"wrote {write_site(folder, options.site)}")
            return 0
        for name in _chosen(folder, options.numbers):
            if options.language not in languages(folder, name):
                raise InputError(f"there is no sources/{options.language}/{name}.md")
            begin = time.perf_counter()
            path = build(folder, name, options.language)
            print(f"{path}  {time.perf_counter() - begin:.1f} s", flush=True)
    except InputError as error:
        print(f"minibert.lab.build: {error}", file=sys.stderr)
        return 1
    return 0


def _chosen(folder: Path, numbers: list[str]) -> list[str]:
    """The notebooks with these numbers.  Raises InputError when there is none of that number."""
    every = names(folder)
    if not every:
        raise InputError(f"{folder} has no sources: build in a clone of the repository")
    found = []
    for number in numbers:
        match = [name for name in every if name.split("_")[0] == number.zfill(2) or name == number]
        if not match:
            raise InputError(f"there is no notebook {number}: choose one of {', '.join(every)}")
        found += match
    return found or every


if __name__ == "__main__":
    sys.exit(main())
