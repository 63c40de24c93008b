"""Pages whose measured parts stand between markers and are written anew."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def write_sections(page: Path, sections: Mapping[str, str]) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- end of name -->` of every section.

    Raises:
        SystemExit: the page has no such place.
    """
    text = page.read_text(encoding="utf-8")
    for name, content in sections.items():
        before, _, rest = text.partition(f"<!-- {name} -->\n")
        _, marker, after = rest.partition(f"<!-- end of {name} -->")
        if not marker:
            raise SystemExit(f"{page} has no place for {name}: mark it <!-- {name} --> ... <!-- end of {name} -->")
        text = f"{before}<!-- {name} -->\n{content.rstrip()}\n{marker}{after}"
    part = page.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.rename(page)
    print(f"Written: {page}")
