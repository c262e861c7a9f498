"""Checks of numbers."""


def check_ratio(name: str, value: float) -> float:
    """Return a probability that is not one, or raise."""
    if not 0 <= value < 1:
        raise ValueError(f"`{name}` must lie in [0, 1); got {value}.")
    return float(value)


def check_scales(channels: int, scales: tuple[int, ...], name: str) -> None:
    """Raise unless channels can be split into as many parts as each scale says."""
    for scale in scales:
        if scale < 2 or channels % scale:
            raise ValueError(f"`{name}` = {channels} cannot be split in {scale} parts.")
