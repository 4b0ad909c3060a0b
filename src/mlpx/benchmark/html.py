"""The document as one self-contained HTML page."""

from __future__ import annotations

from html import escape

from mlpx.benchmark.document import Document
from mlpx.benchmark.tables import to_markdown


def to_html(document: Document) -> str:
    """A page that needs nothing else."""
    return f"<!doctype html><title>mlpx benchmark</title><pre>{escape(to_markdown(document))}</pre>"
