"""The choice of what becomes of images that cannot be read, for training and inference; without torch."""

RAISE, SKIP = CHOICES = ("raise", "skip")


def check_choice(on_bad_image: str, max_bad_share: float) -> None:
    """Refuse settings that cannot be meant.

    Raises:
        ValueError: `on_bad_image` is not one of `CHOICES`, or `max_bad_share` no number of 0..1.
    """
    if on_bad_image not in CHOICES:
        raise ValueError(f'on_bad_image is {on_bad_image!r}; wanted "raise" or "skip"')
    number = isinstance(max_bad_share, int | float) and not isinstance(max_bad_share, bool)
    if not number or not 0 <= max_bad_share <= 1:
        raise ValueError(f"max_bad_share is {max_bad_share!r}; wanted a share, 0 to 1, such as 0.05")
