"""An image of NaN and infinities alone is no radiograph, rather than a black one."""

import nibabel
import numpy as np
import pytest

from bundle.reading.radiograph import RadiographError, read_radiograph


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_it_is_refused_and_one_finite_pixel_is_not(tmp_path, value):
    pixels = np.full((8, 6, 1), value, np.float32)
    nibabel.save(nibabel.Nifti1Image(pixels, np.eye(4)), tmp_path / "image.nii.gz")
    with pytest.raises(RadiographError, match=r"image\.nii\.gz: no pixel has a finite value"):
        read_radiograph(tmp_path / "image.nii.gz")
    pixels[2, 3] = 7
    nibabel.save(nibabel.Nifti1Image(pixels, np.eye(4)), tmp_path / "image.nii.gz")
    assert np.isfinite(read_radiograph(tmp_path / "image.nii.gz")[0]).all()
