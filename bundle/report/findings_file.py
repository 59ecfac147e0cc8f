"""The former place of `bundle.results.findings_file`, by which others import it."""

from bundle.results.findings_file import findings_document as findings_document
