"""How the documentation is built: Sphinx over Markdown pages."""

project = "swimring"
author = "The swimring authors"
copyright = "2026, the swimring authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "swimring"
autodoc_typehints = "none"
