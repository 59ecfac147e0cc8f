"""What a supervisor on this machine is told of the node, and what nobody is told."""

import http.client

import pytest

from bundle.node.monitor import start_monitor
from bundle.node.queue import DiskQueue
from bundle.watch import Watch


@pytest.fixture
def queue(tmp_path):
    queue = DiskQueue(tmp_path / "queue")
    (tmp_path / "image").write_bytes(b"pixels")
    for uid in ("1.2.3", "1.2.4"):
        queue.put(queue.key(uid), tmp_path / "image")
    queue.refuse(queue.key("1.2.4"), "colour")
    return queue


@pytest.fixture
def watch():
    return Watch()


@pytest.fixture
def ask(queue, watch):
    server = start_monitor(0, queue.loads, watch)
    assert server.server_address[0] == "127.0.0.1"

    def ask(path, method="GET", host=None):
        connection = http.client.HTTPConnection(*server.server_address, timeout=20)
        connection.request(method, path, headers={} if host is None else {"Host": host})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    yield ask
    watch.over.set()
    server.shutdown()
    server.server_close()


def test_the_figures_of_each_state_and_no_identifier(ask, queue):
    status, text = ask("/metrics")
    assert status == 200
    lines = text.splitlines()
    assert "# TYPE dicom_node_objects gauge" in lines
    for line in ('objects{state="incoming"} 1', 'objects{state="refused"} 1', 'objects{state="done"} 0'):
        assert f"dicom_node_{line}" in lines
    assert 'dicom_node_bytes{state="incoming"} 6' in lines
    (age,) = (line.split()[1] for line in lines if line.startswith('dicom_node_oldest_seconds{state="incoming"}'))
    assert 0 <= float(age) < 600
    for key in ("1.2.3", queue.key("1.2.3"), "colour"):
        assert key not in text


def test_health_is_of_the_threads(ask, watch):
    assert ask("/healthz") == (200, "ok\n")
    watch.start(lambda: 1 / 0, "sender").join()
    assert ask("/healthz")[0] == 503
    assert watch.fault.startswith("the thread sender has failed: ZeroDivisionError")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/metrics?a", "/healthz/../metrics", "/queue.db"])
def test_no_other_path_is_served(ask, path):
    assert ask(path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "WHATEVER"])
def test_no_other_method_is_served(ask, method):
    assert ask("/metrics", method)[0] == 405


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[", "10.0.0.1"])
def test_a_page_whose_name_leads_here_is_not_answered(ask, host):
    assert ask("/metrics", host=host)[0] == 400


@pytest.mark.parametrize("host", ["localhost", "localhost:9", "127.0.0.1:9", "[::1]:9"])
def test_this_machine_by_its_names(ask, host):
    assert ask("/metrics", host=host)[0] == 200
