"""Whether the node is well, and what lies in its queue, for a supervisor on this machine: two paths, GET alone."""

from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from bundle.loopback import is_loopback
from bundle.node.ledger import Load
from bundle.watch import Watch

_KIND = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus' exposition format
_FIGURES = {"objects": "Objects", "bytes": "Bytes of the objects", "oldest_seconds": "Seconds since the oldest came"}


def start_monitor(port: int, loads: Callable[[], Mapping[str, Load]], watch: Watch) -> ThreadingHTTPServer:
    """Serve `/healthz` and `/metrics` on 127.0.0.1; returns at once.

    Anything else is 404, another method 405, and a request that names another host than this machine 400: a web page
    whose name leads here is not answered. No answer identifies an object.

    Args:
        port: 0 for a free one.
        loads: what lies in each state of the queue.
        watch: of the node; it is told if the thread that serves ends.

    Returns:
        The server; `shutdown()` ends it.

    Raises:
        OSError: the port is in use.
    """

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version, timeout = "node", "", 5.0

        def handle_one_request(self) -> None:
            """Every method comes to `_answer`, for http.server would answer unknown ones in HTML."""
            self.raw_requestline = self.rfile.readline(65537)
            self.close_connection = True
            if self.raw_requestline and self.parse_request():
                self._answer(*self._reply())

        def _reply(self) -> tuple[int, str]:
            if not _of_this_machine(self.headers.get("Host", "")):
                return 400, "another host is not served\n"
            if self.path not in ("/healthz", "/metrics"):
                return 404, "there are /healthz and /metrics\n"
            if self.command != "GET":
                return 405, "GET is served\n"
            if self.path == "/metrics":
                return 200, exposition(loads())
            return (200, "ok\n") if watch.fault is None else (503, "a thread has ended; see the node's log\n")

        def _answer(self, status: int, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            for name, value in (("Content-Type", _KIND), ("Content-Length", str(len(body))), ("Allow", "GET")):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Nothing: it would repeat what a stranger asked for."""

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: 127.0.0.1:{port}; choose another --monitor_port") from error
    server.daemon_threads = True
    watch.start(server.serve_forever, "monitor")
    return server


def exposition(loads: Mapping[str, Load]) -> str:
    """The figures of each state, as Prometheus reads them."""
    lines = []
    for name, text in _FIGURES.items():
        metric = f"dicom_node_{name}"
        lines += [f"# HELP {metric} {text} in a state of the queue.", f"# TYPE {metric} gauge"]
        for state, load in loads.items():
            value = {"objects": load.objects, "bytes": load.bytes, "oldest_seconds": round(load.oldest, 3)}[name]
            lines.append(f'{metric}{{state="{state}"}} {value}')
    return "\n".join(lines) + "\n"


def _of_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:  # such as an unclosed bracket
        return False
    return name is not None and is_loopback(name)
