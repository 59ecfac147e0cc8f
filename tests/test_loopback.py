"""Which addresses are this machine's own."""

import pytest

from bundle.loopback import is_loopback


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.7", False),
        ("localhost.hospital.example", False),
        ("", False),
    ],
)
def test_which_addresses_are_this_machines_own(host, own):
    assert is_loopback(host) is own
