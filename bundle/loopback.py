"""Whether an address is this machine's own: what a server that listens elsewhere must warn of."""

import ipaddress


def is_loopback(host: str) -> bool:
    """True of 127.0.0.0/8, ::1 and localhost; every other name may lead elsewhere."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"
