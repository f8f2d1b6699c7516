"""Text from outside, such as names of folders, licences and slices, in Markdown."""

import html


def cell(text: str) -> str:
    """Escapes a cell of a table."""
    return html.escape(text, quote=False).replace("|", "\\|")
