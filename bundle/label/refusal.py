"""A request that the server does not serve."""


class RefusedError(Exception):
    """The message is for the client; it says what is wanted and names no patient.

    Args:
        status: HTTP status, 4xx.
        reason: one sentence.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
