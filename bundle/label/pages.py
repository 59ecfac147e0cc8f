"""What pages that show patients may load: nothing from other servers."""

import base64
import hashlib
import re
from pathlib import Path

# OHIF compiles WebAssembly and starts workers from blobs; its fonts and its service worker would come from Google.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval' blob: {inline}; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
_INLINE = re.compile(rb"<script(?:\s[^>]*)?>(.*?)</script>", re.DOTALL)


def page_policy(page: Path) -> str:
    """A Content-Security-Policy: nothing from other servers, nothing to them, and of scripts in the page its own alone.

    Args:
        page: its file; the hashes of its scripts are made of it.
    """
    scripts = filter(None, _INLINE.findall(page.read_bytes()))
    hashes = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in scripts]
    return _POLICY.format(inline=" ".join(f"'sha256-{each}'" for each in hashes))
