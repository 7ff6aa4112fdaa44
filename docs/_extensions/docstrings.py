"""Docstrings as reStructuredText: formulas are indented in them without a `::`, and some headings are our own."""

import re

HEADING = re.compile(r"(Derivative|Source|Compilation|Example|Undefined, and what you get there): ?(.*)")


def blocks(lines):
    """The paragraphs of a docstring, as lists of lines."""
    block = []
    for line in [*lines, ""]:
        if line.strip():
            block.append(line)
        elif block:
            yield block
            block = []


def convert(app, what, name, obj, options, lines):
    """Headings in bold; an indented block after a plain paragraph is a formula."""
    out = []
    for block in blocks(lines):
        heading = HEADING.fullmatch(block[0])
        if block[0].startswith("    ") and not block[0].lstrip().startswith(">>>"):
            out += ["::", ""]
        if heading and (heading[2] or heading[1] != "Example"):
            out += [f"**{heading[1]}.** {heading[2]}".rstrip()]
            rest = block[1:]
            if rest and rest[0].startswith("    "):
                out += ["", *(line.removeprefix("    ") for line in rest)]
            else:
                out += rest
        else:
            out += block
        out.append("")
    lines[:] = out


def setup(app):
    # Before napoleon, which reads the other headings.
    app.connect("autodoc-process-docstring", convert, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
