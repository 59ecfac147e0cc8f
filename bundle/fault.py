"""What the log says of an error that nobody expected."""

import traceback


def place_of(error: BaseException) -> str:
    """Kind and place of an error, as a traceback has them, without its message: libraries quote an object's values."""
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}".rstrip()
