"""Transforms of radiographs, boxes and reports: array functions a file each, and the dictionary forms configs name."""

from bundle.transforms.augment import RandomAugmentation as RandomAugmentation
from bundle.transforms.cached_canvas import CachedCanvas as CachedCanvas
from bundle.transforms.dictionary import AugmentRadiographd as AugmentRadiographd
from bundle.transforms.dictionary import BoxesToCanvasd as BoxesToCanvasd
from bundle.transforms.dictionary import BoxesToPatchMaskd as BoxesToPatchMaskd
from bundle.transforms.dictionary import FitToCanvasd as FitToCanvasd
from bundle.transforms.dictionary import KeepBoxesd as KeepBoxesd
from bundle.transforms.dictionary import SelectSampled as SelectSampled
from bundle.transforms.dictionary import TokenizeReportd as TokenizeReportd
from bundle.transforms.other_machine import OtherMachined as OtherMachined
from bundle.transforms.photometric import RandomPhotometry as RandomPhotometry
from bundle.transforms.radiograph import LoadRadiographd as LoadRadiographd
from bundle.transforms.regions import RegionsToCanvasd as RegionsToCanvasd
