"""What a method localises: the findings whose sensitivity lies above that of baselines that see no map."""

from collections.abc import Mapping, Sequence

from bundle.metrics.intervals import Difference
from bundle.metrics.records import Records, of_finding
from bundle.metrics.registry import NOT_LOCALISED
from bundle.metrics.table import FigureTable, Metrics, Notes, draw_units, no_lesions, put_sensitivities


def above_baselines(
    records: Mapping[str, Records], baselines: Sequence[str], replicates: int = 1000, seed: int = 0
) -> tuple[Metrics, Notes]:
    """Each method against each baseline, in the same bootstrap draws.

    Keys: `above/<baseline>/<method>/<f>/sens_at_1fp`, method minus baseline at 1 FP/image of the finding f, or `mean`,
    with `/low` and `/high`. A finding whose lower end is not above 0 is not said to be localised: the notes
    `not_localised/<baseline>/<method>` name all such, or say "none". Without replicates nothing is said.

    Args:
        records: of every method and baseline, by name, of the same images.
        baselines: those of them that are baselines.
        replicates: R of the bootstrap.
        seed: of the draws.
    """
    if not baselines:
        return {}, {}
    first = records[baselines[0]]
    above = FigureTable(first.findings)
    draws = draw_units(above, first.images, replicates, seed)
    tables = {}
    for name, each in records.items():
        tables[name] = FigureTable(first.findings)
        for k, finding in enumerate(first.findings):
            data = of_finding(each, k)
            put_sensitivities(tables[name], finding, data, (1.0,), draws, no_lesions(data))
    pairs = [(baseline, name) for baseline in baselines for name in records if name not in baselines]
    for baseline, name in pairs:
        mine, theirs, start = tables[name], tables[baseline], f"above/{baseline}/{name}"
        for key in mine.values:
            kind = Difference.of(mine.kinds.get(key))
            above.put(f"{start}/{key}", mine.columns(key) - theirs.columns(key), mine.notes.get(key), kind)
        above.mean(f"{start}/{{}}/sens_at_1fp")
    metrics, notes = above.finish()
    for baseline, name in pairs:
        lows = {f: metrics.get(f"above/{baseline}/{name}/{f}/sens_at_1fp/low") for f in first.findings}
        known = {finding: low for finding, low in lows.items() if low is not None}
        if known:
            named = [finding for finding, low in known.items() if low <= 0]
            notes[f"{NOT_LOCALISED}{baseline}/{name}"] = ", ".join(named) or "none"
    return metrics, notes
