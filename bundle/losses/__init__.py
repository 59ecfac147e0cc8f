"""One loss a file; each returns its named terms and their weighted sum under "loss"."""

from bundle.losses.answer import AnswerLoss as AnswerLoss
from bundle.losses.detection import DetectionLoss as DetectionLoss
from bundle.losses.negative_caption import NegativeCaptionLoss as NegativeCaptionLoss
from bundle.losses.patch_clip import PatchCLIPLoss as PatchCLIPLoss
from bundle.losses.region_contrastive import RegionContrastiveLoss as RegionContrastiveLoss
from bundle.losses.region_distillation import RegionDistillationLoss as RegionDistillationLoss
from bundle.losses.report_contrastive import ReportContrastiveLoss as ReportContrastiveLoss
from bundle.losses.weighted import WeightedLosses as WeightedLosses
