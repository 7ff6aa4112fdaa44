"""Formulas as MathML, which browsers render by themselves: no script, no network."""

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)


def converted(node, *, block):
    """The MathML of a formula; what docutils cannot read is a warning and stays as it is."""
    text = node.astext().strip()
    try:
        return tex2mathml(text, as_block=block)
    except MathError as error:
        LOGGER.warning("formula %r: %s", text, error, location=node)
        return f"<code>{text}</code>"


def visit_inline(self, node):
    self.body.append(converted(node, block=False))
    raise nodes.SkipNode


def visit_block(self, node):
    self.body.append(self.starttag(node, "div", CLASS="math notranslate nohighlight"))
    if node["number"]:
        self.body.append(f'<span class="eqno">({node["number"]})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append(converted(node, block=True))
    self.body.append("</div>")
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
