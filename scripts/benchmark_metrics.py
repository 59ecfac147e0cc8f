"""Speed of the metrics (`python -m scripts.benchmark metrics growth`)."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.metrics import compute_froc_curve_data
from threadpoolctl import threadpool_limits

from bundle.checkpoints import load_weights
from bundle.handlers.pairs import auroc_pair, froc_pair, images_of
from bundle.metrics import AUROCMetric, FROCMetric, extract_candidates, extract_candidates_batch, froc_curve
from bundle.metrics.draws import Draws
from bundle.metrics.froc import FP_RATES, sensitivity_at
from bundle.metrics.froc_figures import sensitivities
from bundle.metrics.intervals import interval
from bundle.metrics.records import FindingRecords
from bundle.results import MapsToCandidatesd
from scripts.benchmark_rows import Row, benchmark, turns

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
PATCHES, FINDINGS = 256, 8


@contextmanager
def one_thread() -> Iterator[None]:
    """Of PyTorch and of NumPy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


def alone(calls: dict[str, Callable[[], object]], repeats: int, warm: int = 1) -> dict[str, float]:
    """As `turns`, on one thread, by the processor's seconds, so that others on the machine do not count."""
    with one_thread():
        return turns(calls, repeats, warm, time.process_time)


@benchmark("metrics.froc_against_monai", images=12, repeats=1)
def froc_against_monai(images: int = 1000, repeats: int = 1) -> list[Row]:
    """The whole curve from the same float64 scores, already matched: one lesion an image, found by one of its patches.

    MONAI takes the scores of all images at once, as we do; its own matching is not timed. The two curves must agree,
    but for the loosest point, which MONAI leaves out.
    """
    rng = np.random.default_rng(0)
    fp, lesion = rng.random(images * (PATCHES - 1)), rng.random(images)
    ours = froc_curve(fp[:2000], lesion, images)
    theirs = compute_froc_curve_data(fp[:2000], lesion, len(lesion), images)
    for mine, other in zip((ours.fp_per_image, ours.sensitivity), theirs, strict=True):
        if not np.array_equal(mine[-2::-1], other):
            raise SystemExit("the curves differ: their times cannot be compared")
    took = alone({"ours": lambda: froc_curve(fp, lesion, images)}, 7 * repeats)
    took |= alone({"monai": lambda: compute_froc_curve_data(fp, lesion, len(lesion), images)}, repeats, warm=0)
    what = f"FROC curve, {images} images x {PATCHES} patches, against MONAI's"
    return [Row("metrics.froc_against_monai", what, (took["ours"], took["monai"]), "s", "as fast", ("at least", 1000))]


def boxed_images(images: int, side: int = 256) -> tuple[list[torch.Tensor], list[dict[str, Any]]]:
    """Candidates and truth of one finding: a candidate in each quarter of an image, a lesion in one of every second."""
    rng = np.random.default_rng(0)
    half = side // 2
    candidates, truths = [], []
    for index in range(images):
        lesion, boxes = rng.integers(4), []
        corners = np.array([(x, y) for y in (0, half) for x in (0, half)]) + rng.integers(1, half // 4, (4, 2))
        boxes = np.hstack([corners, corners + rng.integers(half // 8, half // 2, (4, 2))]).astype(float)
        scores, peaks = rng.random(4).astype(np.float32), (boxes[:, :2] + boxes[:, 2:]) // 2
        candidates.append(torch.from_numpy(np.column_stack([np.zeros(4), scores, peaks, boxes])))
        there = index % 2 == 0
        moved = boxes[[lesion]] + rng.integers(0, half // 8, 4)
        truth = {"index": index, "label": torch.tensor([float(there)]), "boxed": torch.ones(1, dtype=torch.bool)}
        boxed = torch.from_numpy(moved[: int(there)])
        truths.append({**truth, "boxes": boxed, "box_finding": torch.zeros(len(boxed), dtype=torch.long)})
    return candidates, truths


def evaluated(candidates: list[torch.Tensor], truths: list[dict[str, Any]]) -> FROCMetric:
    """Matched one to one by IoU, as picai_eval does; all the curve's figures asked for."""
    metric = FROCMetric(["Nodule"], "iou", 0.1, assignment="hungarian")
    metric(candidates, truths)
    metric.details()
    return metric


@benchmark("metrics.froc_against_picai_eval", needs="the package: pip install picai-eval", images=8, repeats=1)
def froc_against_picai_eval(images: int = 200, side: int = 256, repeats: int = 3) -> list[Row]:
    """Matching and curve, ours of boxes, theirs of the same boxes drawn as maps; the sensitivities must agree."""
    try:
        from picai_eval import evaluate
    except ImportError as error:
        raise SystemExit(f"{error.name} is missing: `pip install picai-eval` in an environment of its own.") from error
    candidates, truths = boxed_images(images, side)
    maps = np.zeros((2, images, 1, side, side), np.float32)
    for number, (found, truth) in enumerate(zip(candidates, truths, strict=True)):
        for drawn, boxes, values in ((0, found[:, 4:], found[:, 1]), (1, truth["boxes"], torch.ones(1))):
            for (left, top, right, bottom), value in zip(boxes.int().tolist(), values.tolist(), strict=False):
                maps[drawn, number, 0, top:bottom, left:right] = value

    def theirs() -> Any:
        metrics = evaluate(maps[0], maps[1], num_parallel_calls=1)
        return [metrics.lesion_TPR_at_FPR(rate) for rate in FP_RATES]

    (curve,) = evaluated(candidates, truths).curves().values()
    np.testing.assert_allclose([sensitivity_at(curve, rate) for rate in FP_RATES], theirs(), atol=1e-6)
    took = alone({"ours": lambda: evaluated(candidates, truths), "theirs": theirs}, repeats)
    what = f"FROC of {images} images, four candidates each, with matching, against picai_eval's on maps of {side} px"
    return [Row("metrics.froc_against_picai_eval", what, (took["ours"] * 1e3, took["theirs"] * 1e3), "ms", "as fast")]


@benchmark("growth.images", images=8, repeats=1)
def growth_images(images: int = 500, repeats: int = 7) -> list[Row]:
    """Four times the images of an evaluation: matching, curve and figures."""
    few, many = boxed_images(images), boxed_images(4 * images)
    took = alone({"4": lambda: evaluated(*many), "1": lambda: evaluated(*few)}, repeats)
    what = f"FROC with matching, {4 * images} images, against {images}"
    return [Row("growth.images", what, (took["4"] * 1e3, took["1"] * 1e3), "ms", wanted=("at most", 4.0))]


@benchmark("growth.candidates", large=10**4, repeats=1)
def growth_candidates(large: int = 10**6, repeats: int = 21) -> list[Row]:
    """The curve of a hundred times the candidates; n log n is wanted."""
    rng = np.random.default_rng(0)
    small, calls = large // 100, {}
    for n in (large, small):
        fp, lesion = rng.random(n - n // 100), rng.random(n // 100)
        calls[str(n)] = lambda fp=fp, lesion=lesion: froc_curve(fp, lesion, 1000)
    took = alone(calls, repeats)
    expected = large * math.log(large) / (small * math.log(small))
    what, each = (
        f"FROC curve, {large:,} candidates, against {small:,}",
        (took[str(large)] * 1e3, took[str(small)] * 1e3),
    )
    return [Row("growth.candidates", what, each, "ms", wanted=("at most", expected))]


@benchmark("metrics.bootstrap", images=12, repeats=1)
def bootstrap(images: int = 1000, repeats: int = 7) -> list[Row]:
    """Draws, replicates and intervals of one finding with a lesion in every third image and all patches candidates."""
    rng = np.random.default_rng(0)
    every, lesions = np.arange(images), images // 3
    data = FindingRecords(
        image=every,
        fp_score=rng.random(images * (PATCHES - 1)),
        fp_image=np.repeat(every, PATCHES - 1),
        lesion_score=rng.random(lesions),
        lesion_image=every[:lesions],
        normal_score=rng.random(images - lesions),
        normal_image=every[lesions:],
        lesion_oracle=np.ones(lesions),
        lesion_cnr=np.ones(lesions),
    )

    def all_of_it() -> list:
        return [interval(row[1:]) for row in sensitivities(Draws.of(every, 1000, 0), data)]

    seconds = alone({"all": all_of_it}, repeats)["all"]
    what = f"1000 bootstrap replicates of the FROC of {images} images, one thread"
    return [Row("metrics.bootstrap", what, (seconds,), "s", wanted=("at most", 1.0))]


@benchmark("metrics.candidates", images=12, repeats=1)
def candidates(images: int = 1000, repeats: int = 7) -> list[Row]:
    """Candidates of noise, which has more local maxima than any patch map: the slow case."""
    maps = torch.rand(images, FINDINGS, 16, 16, generator=torch.Generator().manual_seed(0))
    affine = torch.diag(torch.tensor([64.0, 64.0, 1.0], dtype=torch.float64)).expand(images, 3, 3)
    size = torch.full((images, 2), 1024)
    calls = {
        "together": lambda: extract_candidates_batch(maps, affine, size),
        "singly": lambda: [extract_candidates(*each) for each in zip(maps, affine, size, strict=True)],
    }
    took = alone(calls, repeats)
    what = f"candidates of {images} maps of 16x16 x {FINDINGS} findings, one thread"
    both = took["together"], took["singly"]
    return [
        Row("metrics.candidates", what, both[:1], "s", wanted=("at most", 2.0)),
        Row("metrics.candidates.batched", f"{what}, batched against image by image", both, "s", "as fast"),
    ]


@benchmark("metrics.share_of_demo_pass", needs="the demo's weights: bash scripts/demo.sh")
def share_of_demo_pass(batch: int = 16, repeats: int = 7, weights: str = "models/demo/model.pt") -> list[Row]:
    """Of the demo's network. With random weights every patch were above the floor: many more candidates."""
    demo = ("pretrain.json", "train.json", "demo.json")
    return share_of_pass("metrics.share_of_demo_pass", demo, batch, repeats, weights)


@benchmark("metrics.share_of_default_pass", needs="3 GB of memory")
def share_of_default_pass(batch: int = 4, repeats: int = 3) -> list[Row]:
    """Of the default network, ViT-L/14 on 900 px, with random weights."""
    return share_of_pass("metrics.share_of_default_pass", ("inference.json",), batch, repeats, None)


def share_of_pass(name: str, configs: tuple[str, ...], batch: int, repeats: int, weights: str | None) -> list[Row]:
    """What `run evaluating` does with a batch's maps but for the report, against the pass. A box an image."""
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / config) for config in configs])
    torch.manual_seed(0)
    precision, device = parser.get_parsed_content("precision"), torch.device("cpu")
    network = precision.place(parser.get_parsed_content("network_def"), device).eval()
    if weights is not None:
        load_weights(network, weights)
    settings = {k: v for k, v in parser.get_parsed_content("candidates").items() if k != "_desc_"}
    findings, canvas = network.findings, network.downscaler.in_size
    image = precision.layout(torch.rand(batch, 1, canvas, canvas))

    def forward() -> dict:
        with torch.no_grad(), precision.context(device):
            return network(image, full=True)

    k, transform, output = len(findings), MapsToCandidatesd("pred", canvas, **settings), forward()
    present = torch.arange(batch) % k
    whole = {
        "pred": output["pred"],
        "scores": output["scores"],
        "index": torch.arange(batch),
        "label": torch.nn.functional.one_hot(present, k).float(),
        "boxed": torch.ones(batch, k, dtype=torch.bool),
        "boxes": torch.tensor([[100.0, 100.0, 200.0, 200.0]]).expand(batch, 1, 4),
        "box_finding": present[:, None],
        "canvas_from_stored": torch.eye(3, dtype=torch.float64).expand(batch, 3, 3),
        "stored_size": torch.tensor([canvas, canvas]).expand(batch, 2),
    }
    found = transform(whole)

    def found_together() -> None:
        transform(whole)

    def singly() -> None:
        for one in images_of(whole):
            transform(one)

    def metrics() -> None:
        FROCMetric(findings)(*froc_pair(found))
        AUROCMetric(findings, list(output["scores"]))(*auroc_pair(found))

    took = turns({call.__name__: call for call in (forward, found_together, singly, metrics)}, repeats)
    each = sum(map(len, found["candidates"])) / batch
    what = f"{batch} images of {canvas} px, {each:.0f} candidates an image"
    both = (took["found_together"] + took["metrics"]) * 1e3, took["forward"] * 1e3
    batched = took["found_together"] * 1e3, took["singly"] * 1e3
    return [
        Row(name, f"candidates and metrics against the pass, {what}", both, "ms", wanted=("at most", 0.1)),
        Row(f"{name}.batched", f"candidates, batched against image by image, {what}", batched, "ms", "as fast"),
    ]
