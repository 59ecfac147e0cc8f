"""The network and its parts, one concept a file."""

from bundle.networks.clip import CLIPTowers as CLIPTowers
from bundle.networks.detector import BoxDetector as BoxDetector
from bundle.networks.downscaler import Downscaler as Downscaler
from bundle.networks.open_vocabulary import OpenVocabularyDetector as OpenVocabularyDetector
from bundle.networks.patch_clip import PatchCLIP as PatchCLIP
