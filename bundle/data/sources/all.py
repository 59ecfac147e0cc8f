"""Every source by the name of its command."""

from collections.abc import Callable

from bundle.data.sources.record import Reading
from bundle.data.sources.table import read_table

__all__ = ["SOURCES"]

SOURCES: dict[str, Callable[..., Reading]] = {
    "table": read_table,
}
