"""What a network makes of words: retrieval of reports, negation, prompts outside its list."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from ignite import distributed as idist

from bundle.comments import without_comments
from bundle.data.report_text import tokenize_reports
from bundle.engines import plain
from bundle.metrics.draws import Draws
from bundle.metrics.intervals import mean_kind
from bundle.metrics.labelled import lacking_class
from bundle.metrics.negation import SIDES, negation_accuracy, prompt_auroc
from bundle.metrics.records import Floats
from bundle.metrics.retrieval import Retrieval, image_to_report, report_to_image
from bundle.metrics.table import FigureTable, Metrics, Notes, area_of, put_auroc, share_of
from bundle.networks import PatchCLIP
from bundle.networks.prompts import average_prompts
from bundle.precision import Precision


class LanguageEvaluation:
    """Judges the global embedding of a network with a text tower on one section.

    Keys:

    - `retrieval/<d>/r_at_<k>` with interval, `/median_rank`, `/gallery_size`, `/distinct_texts`, <d> `image_to_report`
      or `report_to_image`; k = 1, 5, 10 (`bundle.metrics.retrieval`). Images without a report take no part;
    - `negation/<f>/on_negatives`, `/on_positives`, `/balanced`, and `prompt_auroc/<s>/<f>`, <s> `positive_only`,
      `pair` or `negated` (`bundle.metrics.negation`), with intervals;
    - `zero_shot/<name>/auroc` and `/auroc_positive_only`, with intervals: of prompts that were not trained on.

    Args:
        network: with a text tower.
        findings: names of the K findings.
        loader: batches of the section.
        reports: by the images' index; empty where there is none.
        tokenizer: transformers tokenizer.
        zero_shot: name -> {"finding": whose labels it is judged by, "positive": prompts, "negative": prompts}.
        device: to compute on.
        precision: number format and layout.
        replicates: R of the bootstrap over patients.
        seed: of the draws.

    Raises:
        ValueError: a zero-shot entry of an unknown finding, or without prompts.
    """

    def __init__(
        self,
        network: PatchCLIP,
        findings: Sequence[str],
        loader: Iterable[Mapping[str, Any]],
        reports: Sequence[str],
        tokenizer: Any,
        device: torch.device,
        precision: Precision,
        zero_shot: Mapping[str, Mapping[str, Any]] | None = None,
        replicates: int = 1000,
        seed: int = 0,
    ) -> None:
        self.network, self.findings, self.loader, self.reports = network, list(findings), loader, list(reports)
        self.tokenizer, self.device, self.precision = tokenizer, device, precision
        self.zero_shot, self.replicates, self.seed = without_comments(zero_shot), replicates, seed
        self.draws: dict[str, Floats] = {}  # of the last run: each figure's replicates
        for name, entry in self.zero_shot.items():
            if entry.get("finding") not in self.findings or not entry.get("positive") or not entry.get("negative"):
                raise ValueError(
                    f"zero_shot {name!r} is {dict(entry)}; give `finding`, one of {self.findings}, and prompts in "
                    "`positive` and `negative`."
                )

    def run(self) -> tuple[Metrics, Notes]:
        """Look at the section (collective) and sum up; without a text tower, only a note says so."""
        table = FigureTable(tuple(self.findings))
        self.draws = table.draws
        if self.network.clip.text is None:
            table.notes["retrieval"] = "the network has no text tower"
            return table.finish()
        index, group, label, embedding, logits = self._look()
        draws = Draws.of(group, self.replicates, self.seed)
        self._retrieve(table, index, embedding, draws)
        put_negation(table, logits, label, draws)
        for name, entry in self.zero_shot.items():
            self._judge_prompt(table, name, entry, embedding, label, draws)
        return table.finish()

    def _look(self) -> tuple[Floats, Floats, Floats, torch.Tensor, torch.Tensor]:
        """Index (I,), group (I,), label (I, K), global embedding (I, D) and logits (I, K, 2), by index."""
        rows: list[tuple[torch.Tensor, ...]] = []
        self.network.eval()
        for batch in self.loader:
            image = self.precision.layout(plain(batch["image"]).to(self.device))
            with torch.no_grad(), self.precision.context(self.device):
                output: Any = self.network(image, full=True)
            number = batch["index"]
            rows.append(
                (
                    number,
                    batch.get("group", number),
                    batch["label"],
                    output["global_embedding"].float().cpu(),
                    output["global_logits"].float().cpu(),
                )
            )
        if idist.get_world_size() > 1:
            rows = [row for theirs in idist.all_gather(rows) for row in theirs]
        index, group, label, embedding, logits = (torch.cat(part) for part in zip(*rows, strict=True))
        order = torch.argsort(index)
        as_floats = [part[order].double().numpy() for part in (index, group, label)]
        return as_floats[0], as_floats[1], as_floats[2], embedding[order], logits[order]

    @torch.no_grad()
    def _texts(self, texts: Sequence[str]) -> torch.Tensor:
        """(N, D), unit length."""
        text = self.network.clip.text
        if text is None:
            raise ValueError("The network has no text tower; it cannot read.")
        parts = []
        for start in range(0, len(texts), 64):
            tokens = tokenize_reports(texts[start : start + 64], self.tokenizer, self.network.clip.context_length)
            ids, mask = tokens["input_ids"].to(self.device), tokens["attention_mask"].to(self.device)
            parts.append(F.normalize(text(ids, mask).float(), dim=-1).cpu())
        return torch.cat(parts)

    def _retrieve(self, table: FigureTable, index: Floats, embedding: torch.Tensor, draws: Draws) -> None:
        # as the tower reads them: reports that differ in white space alone are one
        reports = [" ".join(self.reports[int(number)].split()) for number in index]
        rows = [row for row, report in enumerate(reports) if report]
        if not rows:
            table.notes["retrieval"] = "no image has a report"
            return
        distinct = list(dict.fromkeys(reports[row] for row in rows))
        place = {text: number for number, text in enumerate(distinct)}
        text_id = np.array([place[reports[row]] for row in rows])
        image, report = embedding[rows], self._texts(distinct)[text_id]
        for name, found in (
            ("image_to_report", image_to_report(image, report, text_id)),
            ("report_to_image", report_to_image(image, report, text_id)),
        ):
            put_retrieval(table, f"retrieval/{name}", found, draws.at(np.array(rows)))

    def _judge_prompt(
        self,
        table: FigureTable,
        name: str,
        entry: Mapping[str, Any],
        embedding: torch.Tensor,
        label: Floats,
        draws: Draws,
    ) -> None:
        sides = [list(entry["negative"]), list(entry["positive"])]
        prompts = average_prompts(self._texts([*sides[0], *sides[1]]), [len(side) for side in sides])[0]  # (2, D)
        cosine = (embedding @ prompts.T).double().numpy()  # (I, 2)
        mine = label[:, self.findings.index(entry["finding"])]
        margin = cosine[:, 1] - cosine[:, 0]
        put_auroc(table, [f"zero_shot/{name}/auroc"], margin, mine, draws)
        put_auroc(table, [f"zero_shot/{name}/auroc_positive_only"], cosine[:, 1], mine, draws)


def put_negation(table: FigureTable, logits: torch.Tensor, label: Floats, draws: Draws) -> None:
    """Put `negation/<f>/...` and `prompt_auroc/<score>/<f>` of `bundle.metrics.negation`, and their means.

    Args:
        table: to put into, of the K findings.
        logits: (I, K, 2).
        label: (I, K).
        draws: of the images.
    """
    accuracy, areas = negation_accuracy(logits, label, draws), prompt_auroc(logits, label, draws)
    for k, finding in enumerate(table.findings):
        mine = label[:, k]
        lacking, unit = lacking_class(mine[~np.isnan(mine)] == 1), draws.unit
        for name, value in SIDES.items():
            why = f"no {'positive' if value else 'negative'} images"
            table.put(f"negation/{finding}/{name}", accuracy[name][k], why, share_of(unit[mine == value]))
        sides = [share_of(unit[mine == value]) for value in SIDES.values()]
        table.put(
            f"negation/{finding}/balanced", accuracy["balanced"][k], lacking, None if lacking else mean_kind(sides)
        )
        for name, figures in areas.items():
            kind = None if lacking else area_of(unit[mine == 1], unit[mine == 0])
            table.put(f"prompt_auroc/{name}/{finding}", figures[k], lacking, kind)
    for name in accuracy:
        table.mean(f"negation/{{}}/{name}")
    for name in areas:
        table.mean(f"prompt_auroc/{name}/{{}}")


def put_retrieval(table: FigureTable, key: str, found: Retrieval, draws: Draws) -> None:
    """Put one direction of retrieval: `<key>/r_at_<k>`, `/median_rank`, `/gallery_size`, `/distinct_texts`.

    Args:
        table: to put into.
        key: of the direction.
        found: its ranks.
        draws: of the queries; the gallery stays.
    """
    for k in found.recall:
        table.put(f"{key}/r_at_{k}", draws.mean(found.rank <= k), None, share_of(draws.unit))
    table.put(f"{key}/median_rank", found.median_rank)
    table.put(f"{key}/gallery_size", found.gallery_size)
    table.put(f"{key}/distinct_texts", found.distinct_texts)
