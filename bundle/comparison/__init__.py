"""Several ways of making maps, judged on the same images by a plan that was frozen before the test."""

from bundle.comparison.box_places import training_boxes as training_boxes
from bundle.comparison.comparison import Comparison as Comparison
from bundle.comparison.elsewhere import other_network as other_network
from bundle.comparison.language import LanguageEvaluation as LanguageEvaluation
from bundle.comparison.methods import map_methods as map_methods
from bundle.comparison.observe import Method as Method
from bundle.comparison.plan import Grid as Grid
from bundle.comparison.regions import RegionEvaluation as RegionEvaluation
from bundle.comparison.unseeing import Atlas as Atlas
from bundle.comparison.unseeing import NoLookMarker as NoLookMarker
from bundle.frozen_plan import PlanError as PlanError
