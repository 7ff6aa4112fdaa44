"""The site: `sphinx-build -W --keep-going docs docs/_build/html`, from the root of the repository."""

import os
import sys
from pathlib import Path

import truncax

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))
# The examples run in kernels of their own, which are to draw alike, on one CPU device.
os.environ["MATPLOTLIBRC"] = str(HERE / "matplotlibrc")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

project = "Truncax"
author = "The authors of Truncax"
copyright = "2026, the authors of Truncax"
release = truncax.__version__
version = release

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "docstrings",
    "gallery",
    "mathml",
]
exclude_patterns = ["_build", "_extensions", "conf.py", "**.ipynb_checkpoints", ".jupyter_cache"]
nitpicky = True
# There is no network in a build, so that names of other libraries have nowhere to point to.
nitpick_ignore_regex = [
    (r"py:exc", r"Nothing\.?"),
    (r"py:.*", r"(jax|jaxlib|numpy|np|scipy|collections|typing|enum)\..*"),
    (r"py:class", r"(Array|ArrayLike|Any|Callable|Sequence|optional|Unpack\[.*)"),
]

# Pages.
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
highlight_language = "none"
pygments_style = "friendly"
pygments_dark_style = "monokai"

# Examples: scripts in the percent format, run while the site is built.
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "cache"
nb_execution_timeout = 900
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
# A page that shows a warning of its code is not finished.
nb_output_stderr = "remove-warn"

# The reference.
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "none"
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True
add_module_names = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = "Truncax"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_math_renderer = "mathml"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"
