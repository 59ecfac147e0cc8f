"""What the server does not serve, and what it cannot."""


class RefusedError(Exception):
    """A request that is not served. The message is for the client; it says what is wanted and names no patient.

    Args:
        status: HTTP status, 4xx.
        reason: one sentence.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class ArchiveError(Exception):
    """A DICOMweb archive does not answer, or not as it should."""
