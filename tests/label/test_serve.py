"""The application folder that a start makes."""

from bundle.label.serve import make_application


def test_what_a_stopped_training_left_is_removed_and_its_weights_stay(tmp_path):
    model = tmp_path / "model"
    (model / "models").mkdir(parents=True)
    (model / "models" / "model.pt").write_bytes(b"first")
    weights = make_application(model, tmp_path / "work") / "model" / "patch_clip" / "models"
    (weights / "model.pt").unlink()
    (weights / "model.pt").write_bytes(b"trained")
    (weights / ".0123456789ab.model.pt").write_bytes(b"half")
    make_application(model, tmp_path / "work")
    assert [path.name for path in weights.iterdir()] == ["model.pt"]
    assert (weights / "model.pt").read_bytes() == b"trained"
