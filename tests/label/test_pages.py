"""Pages that show patients load nothing from other servers: a real browser, and two servers on loopback."""

import contextlib
import http.server
import subprocess
import threading
from collections import Counter

import pytest

from bundle.label.pages import page_policy
from tests.debian import path_of

PAGE = """<!doctype html><html><head><title>one</title>
<script src="{cdn}/cdn.js"></script>
<link href="{cdn}/font.css" rel="stylesheet">
<script>document.title = "two";
</script>
<script defer="defer" src="/own.js"></script>
</head><body><img src="{cdn}/seen.png"><p id="place">nothing</p></body></html>
"""
OWN = """document.getElementById("place").textContent = Function("return 'evaluated'")();
const late = document.createElement("script");
late.textContent = "document.title = 'injected'";
document.body.append(late);
fetch("CDN/told?patient").catch(() => {});
"""


@contextlib.contextmanager
def serving(files, headers, asked):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked[self.path] += 1
            body = files.get(self.path, "").encode()
            self.send_response(200)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "text/javascript" if self.path.endswith(".js") else "text/html")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


@pytest.mark.parametrize("guarded", [True, False], ids=["with the policy", "without"])
def test_a_page_runs_its_own_scripts_and_asks_no_other_server(tmp_path, guarded):
    asked, own = Counter(), Counter()
    with serving({"/cdn.js": "document.title = 'three'"}, {}, asked) as cdn:
        page = PAGE.format(cdn=cdn)
        (tmp_path / "index.html").write_text(page)
        headers = {"Content-Security-Policy": page_policy(tmp_path / "index.html")} if guarded else {}
        with serving({"/": page, "/own.js": OWN.replace("CDN", cdn)}, headers, own) as address:
            flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
            command = [path_of("chromium"), *flags, "--virtual-time-budget=3000", "--dump-dom", address]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert own["/own.js"] == 1
    assert "evaluated" in done.stdout
    if guarded:
        assert not asked
        assert "<title>two</title>" in done.stdout
    else:  # so that the browser would have asked
        assert {"/cdn.js", "/font.css", "/seen.png", "/told?patient"} <= asked.keys()
        assert "<title>injected</title>" in done.stdout
