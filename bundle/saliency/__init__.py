"""Saliency maps of a Patch-CLIP network's vision tower: the baselines that its patch maps are compared with."""

from bundle.saliency.cosine import cosine_maps as cosine_maps
from bundle.saliency.cosine import value_cosine_maps as value_cosine_maps
from bundle.saliency.grad_cam import grad_cam_maps as grad_cam_maps
from bundle.saliency.methods import METHODS as METHODS
from bundle.saliency.network import SaliencyNetwork as SaliencyNetwork
from bundle.saliency.relevance import relevance_maps as relevance_maps
from bundle.saliency.rollout import rollout_maps as rollout_maps
from bundle.saliency.scaling import scale_by_constant as scale_by_constant
from bundle.saliency.scaling import scale_by_probability as scale_by_probability
