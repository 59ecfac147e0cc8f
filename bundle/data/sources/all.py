"""Every source by the name of its command."""

from collections.abc import Callable

from bundle.data.sources.chestxdet10 import read_chestxdet10
from bundle.data.sources.chexpert import read_chexpert
from bundle.data.sources.chexzero import read_chexzero
from bundle.data.sources.coco import read_coco
from bundle.data.sources.mimic import read_mimic
from bundle.data.sources.ms_cxr import read_ms_cxr
from bundle.data.sources.openi import read_openi
from bundle.data.sources.padchest_gr import read_padchest_gr
from bundle.data.sources.record import Reading
from bundle.data.sources.rsna import read_rsna
from bundle.data.sources.siim import read_siim
from bundle.data.sources.table import read_table
from bundle.data.sources.vinbigdata import read_vinbigdata

__all__ = ["SOURCES"]

SOURCES: dict[str, Callable[..., Reading]] = {
    "table": read_table,
    "vinbigdata": read_vinbigdata,
    "rsna": read_rsna,
    "siim": read_siim,
    "chexpert": read_chexpert,
    "mimic": read_mimic,
    "openi": read_openi,
    "coco": read_coco,
    "chestx-det10": read_chestxdet10,
    "chexzero": read_chexzero,
    "ms-cxr": read_ms_cxr,
    "padchest-gr": read_padchest_gr,
}
