"""Rows of words as a table: aligned for a terminal, or Markdown."""

from collections.abc import Sequence


def text_table(rows: Sequence[Sequence[str]], markdown: bool) -> str:
    """A table, its first row the headings.

    Args:
        rows: of equal length.
        markdown: whether with bars and a rule below the headings.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    if not markdown:
        return "\n".join("  ".join(row).rstrip() for row in padded)
    lines = [f"| {' | '.join(row)} |" for row in padded]
    return "\n".join([lines[0], f"|{'|'.join('-' * (width + 2) for width in widths)}|", *lines[1:]])
