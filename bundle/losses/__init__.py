"""One loss a file; each returns its named terms and their weighted sum under "loss"."""

from bundle.losses.detection import DetectionLoss as DetectionLoss
from bundle.losses.patch_clip import PatchCLIPLoss as PatchCLIPLoss
from bundle.losses.report_contrastive import ReportContrastiveLoss as ReportContrastiveLoss
