"""From records to the figures of metrics.json, with intervals, and to the notes that explain them."""

from collections.abc import Sequence

import numpy as np

from bundle.metrics.draws import Draws
from bundle.metrics.froc import FP_RATES
from bundle.metrics.records import COUNTED, UNBOXED, UNKNOWN, FindingRecords, Floats, Records, of_finding
from bundle.metrics.records_check import check_records
from bundle.metrics.strata import put_tiers
from bundle.metrics.table import FigureTable, Metrics, Notes, draw_units, put_auroc, put_froc, threshold_at

NO_THRESHOLD = "plus infinity: nothing is called, the best candidate alone has more false positives, or no image counts"
CNR_TIERS = ("cnr_low", "cnr_mid", "cnr_high")


def summarise(
    records: Records,
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    fp_rates: Sequence[float] = FP_RATES,
    primary: str | None = None,
) -> tuple[Metrics, Notes]:
    """Every figure of an evaluation, per finding and in the macro mean, with bootstrap intervals.

    Keys, with <f> a finding or `mean` (of the findings for which the figure is defined):

    - `froc/<f>/sens_at_<x>fp`, `froc/<f>/score` (mean over the rates), `wafroc/<f>`: `bundle.metrics.froc`;
    - `froc/<f>/threshold_at_<x>fp`: the score from which on candidates are called there, no mean and no interval;
    - `froc/<f>/oracle`: share of lesions that the grid lets a patch hit, the ceiling beside each sensitivity;
    - `auroc/<f>`: area of the primary image score; `auroc/<score>/<f>`: of each, where there are several;
    - `n_images/<f>`, `n_lesions/<f>`, `n_excluded/<f>` with its parts `/unboxed` and `/unknown`: what FROC counts, and
      what it leaves out; `n_positive/<f>`, `n_negative/<f>`: what AUROC counts;
    - `froc/<f>/<tier>/sens_at_<x>fp`, `auroc/<f>/<tier>`, `n_lesions/<f>/<tier>`, tier `cnr_low`, `cnr_mid`,
      `cnr_high`: by thirds of contrast-to-noise ratio, where lesions carry it. `cnr_edges/1` and `/2` part the counted
      lesions of all findings together and stay fixed in the replicates. Sensitivity is then of the tier's lesions, with
      the false positives of all images; AUROC is of the images whose strongest lesion lies in the tier against all
      negatives;
    - `<key>/low`, `<key>/high`: interval (`bundle.metrics.intervals`). The replicates of all findings are of the same
      draws, so that of a mean is honest about images that carry several findings.

    A figure that is undefined is None, and its key in the notes says why; a mean that lacks findings, and an interval
    that lacks replicates, say so there too. Units of the bootstrap are the records' groups.

    Args:
        records: of the evaluation.
        replicates: R; 0 for no intervals.
        seed: of the draws.
        level: of confidence.
        fp_rates: false positives per image.
        primary: name of the image score that stands for the network; the first if None.

    Returns:
        The metrics and the notes.

    Raises:
        ValueError: where `primary` names no score, or the records contradict themselves: `check_records`.
    """
    check_records(records)
    names = list(records.images.scores)
    if primary is not None and primary not in names:
        raise ValueError(f"no image score {primary!r}; there are {names}")
    table = FigureTable(records.findings, level)
    table.notes["criterion"] = records.criterion
    draws = draw_units(table, records.images, replicates, seed)
    selections = [of_finding(records, k) for k in range(len(records.findings))]
    edges = _cnr_edges(selections)
    for k, (finding, data) in enumerate(zip(records.findings, selections, strict=True)):
        _count(table, records, finding, k, data)
        put_froc(table, f"froc/{finding}", f"wafroc/{finding}", data, fp_rates, draws)
        for rate in fp_rates:
            table.put(f"froc/{finding}/threshold_at_{rate:g}fp", threshold_at(data, rate), NO_THRESHOLD)
    for kind in (*(f"sens_at_{rate:g}fp" for rate in fp_rates), "score", "oracle"):
        table.mean("froc/{}/" + kind)
    table.mean("wafroc/{}")

    for name in names:
        for k, finding in enumerate(records.findings):
            scores, label = records.images.scores[name][:, k], records.images.label[:, k]
            keys = [f"auroc/{name}/{finding}"] if len(names) > 1 else []
            keys += [f"auroc/{finding}"] if name == (primary or names[0]) else []
            put_auroc(table, keys, scores, label, draws)
        if len(names) > 1:
            table.mean(f"auroc/{name}/{{}}")
    if names:
        table.mean("auroc/{}")
    if edges is not None:
        table.values["cnr_edges/1"], table.values["cnr_edges/2"] = edges
        scores_of = records.images.scores[primary or names[0]] if names else None
        _by_cnr(table, records, selections, edges, fp_rates, scores_of, draws)
    return table.finish()


def _count(table: FigureTable, records: Records, finding: str, k: int, data: FindingRecords) -> None:
    status, label = records.images.status[:, k], records.images.label[:, k]
    for key, number in (
        (f"n_images/{finding}", len(data.image)),
        (f"n_lesions/{finding}", len(data.lesion_score)),
        (f"n_excluded/{finding}", (status != COUNTED).sum()),
        (f"n_excluded/{finding}/unboxed", (status == UNBOXED).sum()),
        (f"n_excluded/{finding}/unknown", (status == UNKNOWN).sum()),
        (f"n_positive/{finding}", (label == 1).sum()),
        (f"n_negative/{finding}", (label == 0).sum()),
    ):
        table.put(key, int(number))


def _cnr_edges(selections: Sequence[FindingRecords]) -> tuple[float, float] | None:
    cnr = np.concatenate([data.lesion_cnr for data in selections]) if selections else np.zeros(0)
    cnr = cnr[~np.isnan(cnr)]
    if not len(cnr):
        return None
    low, high = np.quantile(cnr, [1 / 3, 2 / 3])
    return float(low), float(high)


def _by_cnr(
    table: FigureTable,
    records: Records,
    selections: Sequence[FindingRecords],
    edges: tuple[float, float],
    fp_rates: Sequence[float],
    scores: Floats | None,
    draws: Draws,
) -> None:
    # a value on an edge belongs to the lower tier; NaN would sort last, so it is kept out by name
    tier_of = [np.where(np.isnan(d.lesion_cnr), -1, np.searchsorted(edges, d.lesion_cnr)) for d in selections]
    put_tiers(table, selections, tier_of, CNR_TIERS, fp_rates, draws, "no lesions in this third")
    if scores is None:
        return
    for number, tier in enumerate(CNR_TIERS):
        for k, (finding, data) in enumerate(zip(records.findings, selections, strict=True)):
            strongest = np.full(len(records.images.index), -np.inf)
            np.fmax.at(strongest, data.lesion_image, data.lesion_cnr)
            label = records.images.label[:, k]
            positive = (label == 1) & np.isfinite(strongest) & (np.searchsorted(edges, strongest) == number)
            put_auroc(table, [f"auroc/{finding}/{tier}"], scores[:, k], label, draws, positive)
        table.mean(f"auroc/{{}}/{tier}")
