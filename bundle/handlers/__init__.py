"""Ignite handlers: thin glue between the engines and metrics, reports and tracking."""

from bundle.handlers.curriculum import Curriculum as Curriculum
from bundle.handlers.evaluation_report import EvaluationReport as EvaluationReport
from bundle.handlers.froc import AUROC as AUROC
from bundle.handlers.froc import FROC as FROC
from bundle.handlers.loss_terms import LossTerms as LossTerms
from bundle.handlers.pairs import auroc_pair as auroc_pair
from bundle.handlers.pairs import froc_pair as froc_pair
from bundle.handlers.pairs import vqa_pair as vqa_pair
from bundle.handlers.progress import Progress as Progress
from bundle.handlers.vqa import VQA as VQA
from bundle.handlers.vqa import AnswerReport as AnswerReport
