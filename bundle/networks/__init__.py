"""The network and its parts, one concept a file."""

from bundle.networks.clip import CLIPTowers as CLIPTowers
from bundle.networks.detector import BoxDetector as BoxDetector
from bundle.networks.downscaler import Downscaler as Downscaler
from bundle.networks.frozen_tower import FrozenTower as FrozenTower
from bundle.networks.learned_pairs import LearnedPairs as LearnedPairs
from bundle.networks.open_vocabulary import OpenVocabularyDetector as OpenVocabularyDetector
from bundle.networks.patch_clip import PatchCLIP as PatchCLIP
from bundle.networks.region import RegionProcessor as RegionProcessor
from bundle.networks.region_clip import RegionCLIP as RegionCLIP
from bundle.networks.teacher import RegionTeacher as RegionTeacher
from bundle.networks.text_bank import TextBank as TextBank
from bundle.networks.text_encoder import TextEncoder as TextEncoder
from bundle.networks.vqa import VQANetwork as VQANetwork
