"""Formulas as MathML, which browsers render by themselves: no script, no network."""

import html
import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
# LaTeX that docutils does not know, in words that it does.
KNOWN = (
    (r"\\dots\b", r"\\ldots"),
    (r"\\(big|Big|bigg|Bigg)(?![lrgm])", r"\\\1l"),
    (r"\\[dt]?frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"),
    (r"\\cr\b", r"\\\\"),
    (r"\\(nonumber|notag|textstyle|displaystyle)\b", ""),
)
TAG = re.compile(r"\\tag\{(.*?)\}")


def converted(node, *, block):
    """The MathML of a formula; what docutils cannot read is a warning and stays as it is."""
    text = TAG.sub("", node.astext()).strip()
    for pattern, known in KNOWN:
        text = re.sub(pattern, known, text)
    try:
        return tex2mathml(text, as_block=block)
    except (MathError, IndexError) as error:
        LOGGER.warning("formula %r: %s", text, error, location=node)
        return f"<code>{html.escape(text)}</code>"


def visit_inline(self, node):
    self.body.append(converted(node, block=False))
    raise nodes.SkipNode


def visit_block(self, node):
    tag = TAG.search(node.astext())
    number = tag[1] if tag else node["number"]
    self.body.append(self.starttag(node, "div", CLASS="math notranslate nohighlight"))
    self.body.append(converted(node, block=True))
    if number:
        self.body.append(f'<span class="eqno">({number})</span>')
    self.body.append("</div>")
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
