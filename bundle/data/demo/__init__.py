"""Simulated chest radiographs for the demo, made from one real CT (LIDC-IDRI-0001, CC BY 3.0); never a patient's."""

from bundle.data.demo.contact_sheet import contact_sheet
from bundle.data.demo.dataset import make_demo_radiographs
from bundle.data.demo.real_case import RealCase, real_case
from bundle.data.demo.simulate import Box, Radiograph, simulate

__all__ = ["Box", "Radiograph", "RealCase", "contact_sheet", "make_demo_radiographs", "real_case", "simulate"]
