"""The directive `gallery`: lines `name: what it is about`, as links to the examples that are there."""

from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective


class Gallery(SphinxDirective):
    """A list of examples, each with its title."""

    has_content = True

    def run(self):
        here = Path(self.env.doc2path(self.env.docname)).parent
        lines = []
        for line in self.content:
            name, text = line.split(": ", 1)
            if (here / f"{name}.py").exists():
                lines.append(f"- []({name}.py): {text}")
        container = nodes.container()
        self.state.nested_parse(StringList(lines, source=str(self.env.doc2path(self.env.docname))), 0, container)
        return container.children


def setup(app):
    app.add_directive("gallery", Gallery)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
