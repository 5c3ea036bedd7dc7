"""An independent reader of reports: it recomputes what a page prints and draws from the exported table alone.

Nothing here imports `lashley`. What a column means is said in docs/using.md and in the docstring of the tidy
table; what a quantity is, in the docstrings here and their sources. `page.complaints` walks over a page and
names every number, word or picture that the table does not bear out.
"""
