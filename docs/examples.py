"""Lets mkdocstrings render `Example:` sections as code.

Griffe knows the section under its plural name only.
"""

from typing import Any

import griffe


class Examples(griffe.Extension):
    """Renames the sections while the sources are read."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Changes the docstring of one object."""
        if obj.docstring:
            text = obj.docstring.value.replace("Example:\n", "Examples:\n")
            obj.docstring.value = text
