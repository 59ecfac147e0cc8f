"""The report of a real evaluation: MONAI's evaluator, real DICOM files, a detector of brightness as the network."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.transforms import Compose
from PIL import Image

from bundle.data.datalist import datalist_section
from bundle.data.loading import collate_radiographs
from bundle.engines import EvaluationStep
from bundle.handlers.evaluation_report import EvaluationReport, operating_score
from bundle.handlers.froc import AUROC, FROC
from bundle.handlers.pairs import auroc_pair, froc_pair
from bundle.metrics import by_size, load_records, summarise
from bundle.metrics.image_level import summarise_images
from bundle.metrics.strata import SIZE_TIERS
from bundle.precision import Precision
from bundle.report.figures import FROC_COLUMNS
from bundle.results import MapsToCandidatesd
from bundle.transforms import FitToCanvasd, LoadRadiographd
from tests.tiny import FINDINGS, write_tiny_data
from tests.tiny_comparison import tiny_comparison

CANVAS, GRID = 96, 12


class Brightness(torch.nn.Module):
    """Mass is bright; Effusion is the opposite, which finds dark places and the canvas's pad."""

    def forward(self, image: torch.Tensor, full: bool = False) -> dict[str, Any]:
        bright = torch.nn.functional.avg_pool2d(image, CANVAS // GRID)  # (B, 1, Gh, Gw)
        maps = torch.cat([(0.5 - bright).clamp(0, 1), bright], 1)
        peak = maps.amax((2, 3))
        return {"pred": maps, "scores": {"image": peak, "patch": peak}}


def evaluate(data: Path, output: Path, decollate: bool = True, **settings: Any) -> EvaluationReport:
    samples = datalist_section(data, "test", findings=FINDINGS)
    loader = DataLoader(
        Dataset(samples, Compose([LoadRadiographd(), FitToCanvasd(size=CANVAS)])),
        batch_size=2,
        collate_fn=collate_radiographs,
    )
    froc = FROC(FINDINGS, output_transform=froc_pair)
    auroc = AUROC(FINDINGS, ["image", "patch"], output_transform=auroc_pair)
    report = EvaluationReport(output, FINDINGS, froc, auroc, **settings)
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=loader,
        network=Brightness(),
        iteration_update=EvaluationStep(Precision("float32", channels_last=False)),
        postprocessing=MapsToCandidatesd(canvas=CANVAS),
        decollate=decollate,
        key_val_metric={"froc": froc},
        additional_metrics={"auroc": auroc},
        val_handlers=[report],
    ).run()
    return report


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_tiny_data(tmp_path_factory.mktemp("tiny"), {"training": 1, "validation": 1, "test": 6})
    datalist = json.loads(path.read_text())
    path.write_text(json.dumps({**datalist, "description": "Simulated noise with squares."}))
    return path


@pytest.fixture(scope="module")
def done(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("eval") / "deep"
    config = output.parent / "a.json"
    config.write_text(json.dumps({"seed": 3, "findings": FINDINGS}))
    (output.parent / "b.json").write_text(json.dumps({"seed": 4}))
    evaluate(data, output, replicates=30, seed=3, gallery=6, datalist=data, config=[config, output.parent / "b.json"])
    return output


def test_everything_is_there_and_nothing_half_written(done: Path) -> None:
    names = {p.relative_to(done).as_posix() for p in done.rglob("*") if p.is_file()}
    records = {f"records/{n}" for n in ("records.json", "images.csv", "lesions.csv", "candidates.csv")}
    figures = {
        f"figures/{n}.{kind}"
        for n in ("froc", "sensitivity", "auroc", "reliability", "size")
        for kind in ("png", "svg")
    }
    tables = {"tables/froc.csv", "tables/reliability.csv"}
    assert names == {"metrics.json", "notes.json", "report.html"} | records | figures | tables
    Image.open(done / "figures" / "froc.png").verify()


def test_metrics_follow_from_the_saved_records_and_have_the_agreed_keys(done: Path) -> None:
    metrics, notes = (json.loads((done / name).read_text()) for name in ("metrics.json", "notes.json"))
    records = load_records(done / "records")
    again, notes_again = summarise(records, 30, 3)
    more, more_notes = summarise_images(records, {}, 30, 3)
    sizes, size_notes = by_size(records, 30, 3)
    assert metrics == again | more | sizes
    assert notes == more_notes | size_notes | notes_again | {"description": notes["description"]}
    assert "simulated" in notes["description"].lower()
    for key in ("auroc/mean", "auroc/Mass", "froc/mean/sens_at_1fp", "froc/Mass/sens_at_0.125fp", "froc/mean/score"):
        assert {key, f"{key}/low", f"{key}/high"} <= set(metrics)
    assert {"wafroc/mean", "n_images/Mass", "n_lesions/Mass", "froc/Mass/oracle", "auroc/patch/Mass"} <= set(metrics)
    assert sum(metrics[f"n_lesions/Mass/{tier}"] for tier in SIZE_TIERS) == metrics["n_lesions/Mass"] > 0
    assert all(value is None or isinstance(value, int | float) for value in metrics.values())
    assert metrics["froc/Mass/sens_at_1fp"] == 1.0
    assert metrics["auroc/Mass"] == 1.0
    assert metrics["n_images/Mass"] == 6


def test_the_curves_are_tables_too(done: Path) -> None:
    metrics = json.loads((done / "metrics.json").read_text())
    text = (done / "tables" / "froc.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert tuple(rows[0]) == FROC_COLUMNS
    assert len(rows) == 3 * 57
    for rate in (0.125, 1, 8):
        at = {row["finding"]: row for row in rows if abs(float(row["false_positives_per_image"]) - rate) < 1e-9}
        assert at.keys() == {"Mean of findings", *FINDINGS}
        assert float(at["Effusion"]["sensitivity"]) == pytest.approx(metrics[f"froc/Effusion/sens_at_{rate:g}fp"])
        assert float(at["Mean of findings"]["sensitivity"]) == pytest.approx(metrics[f"froc/mean/sens_at_{rate:g}fp"])
        assert all(float(row["sensitivity_low"]) <= float(row["sensitivity_high"]) for row in at.values())
    bins = list(csv.DictReader((done / "tables" / "reliability.csv").read_text().splitlines()))
    assert sum(int(row["images"]) for row in bins if row["finding"] == "Mass") == 6
    assert {row["calibrated"] for row in bins} == {"no"}
    assert not any(secret in text for secret in ("SecretReport", "SECRET", "patient-", ".dcm"))


def test_the_page_shows_images_words_and_the_merged_configuration(done: Path) -> None:
    page = (done / "report.html").read_text(encoding="utf-8")
    assert "Simulated images." in page
    assert "Mass found with score" in page
    assert page.count("data:image/jpeg") >= 3
    assert "&#34;seed&#34;: 4" in page
    for secret in ("SecretReport", "SECRET", "patient-", ".dcm"):
        assert secret not in page


def test_whole_batches_give_the_figures_and_pictures_of_single_images(data: Path, tmp_path: Path) -> None:
    pages = {}
    for decollate in (True, False):
        evaluate(data, tmp_path / str(decollate), decollate, replicates=10, gallery=6)
        page = (tmp_path / str(decollate) / "report.html").read_text(encoding="utf-8")
        pages[decollate] = re.findall(r'src="data:image/jpeg[^"]+"', page)
    assert pages[True] == pages[False]
    assert len(pages[True]) >= 3
    for name in ("metrics.json", "records/candidates.csv", "records/images.csv", "records/lesions.csv"):
        assert (tmp_path / "True" / name).read_text() == (tmp_path / "False" / name).read_text()


def test_the_gallery_can_be_off_and_a_second_run_starts_anew(data: Path, tmp_path: Path) -> None:
    report = evaluate(data, tmp_path, replicates=0, gallery=0)
    assert report._gallery.sightings() == []
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<img" not in page
    assert "Simulated images." not in page
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert "froc/mean/score/low" not in metrics or metrics["froc/mean/score/low"] is None


def test_the_operating_score_gives_the_rate(done: Path) -> None:
    records = load_records(done / "records")
    mass = FINDINGS.index("Mass")
    wrong = records.candidates.score[(records.candidates.finding == mass) & (records.candidates.lesion < 0)]
    for rate in (0.0, 0.5, 1.0):
        score = operating_score(records, mass, rate)
        assert (wrong >= score).sum() <= rate * len(records.images.index)


def test_a_finding_that_the_datalist_does_not_know_is_refused(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"findings": ["Effusion"], "test": []}))
    with pytest.raises(ValueError, match=r"the records hold \['Mass'\], but the datalist knows the findings \['Effu"):
        evaluate(data, tmp_path / "eval", replicates=0, gallery=0, datalist=other)
    assert not (tmp_path / "eval").exists()


def test_metrics_of_other_findings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="those of auroc are"):
        EvaluationReport(tmp_path, FINDINGS, FROC(FINDINGS), AUROC(["Nodule"]))
    with pytest.raises(ValueError, match="must be >= 0"):
        EvaluationReport(tmp_path, FINDINGS, FROC(FINDINGS), replicates=-1)


def test_thresholds_of_another_score_are_refused(tmp_path: Path) -> None:
    comparison = tiny_comparison(tmp_path, FINDINGS, "patch")
    auroc = AUROC(FINDINGS, ["image", "patch"])
    with pytest.raises(ValueError, match="thresholds are of the image score 'patch', but 'image' would be judged"):
        EvaluationReport(tmp_path, FINDINGS, FROC(FINDINGS), auroc, comparison=comparison)
    EvaluationReport(tmp_path, FINDINGS, FROC(FINDINGS), auroc, comparison=comparison, primary="patch")
