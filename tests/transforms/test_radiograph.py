import itk
import numpy as np
import pytest
from pydicom.uid import *
from bundle.transforms.radiograph import *

@pytest.mark.parametrize("syntax",[ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless, JPEG2000Lossless, JPEGLSLossless, JPEGLosslessSV1])
def test_x(picture, write_dicom, syntax):
    p=write_dicom(picture,"image",syntax)
    a,m=read_radiograph(p)
    assert m["transfer_syntax"]==syntax
    np.testing.assert_array_equal(a[0],(picture/4095).astype(np.float32))
    assert stored_size(p)==(48,64)
def test_b(picture, write_dicom):
    x=(picture//16).astype(np.uint8)
    a,m=read_radiograph(write_dicom(x,syntax=JPEGBaseline8Bit))
    print(np.abs(a[0]-x/255).max()*255)
