"""Hold answers against those of networks that do not look: python -m scripts.compare_vqa eval/vqa eval/vqa_blind"""

from pathlib import Path

import fire

from bundle.atomic import write_json
from bundle.metrics.answers_io import load_answers
from bundle.metrics.vqa_summary import compare_answers


def main(folder: str, *others: str, replicates: int = 1000, seed: int = 0) -> None:
    """A markdown table, a row a type of question; vqa_comparison.json and its notes go into the first folder."""
    names = [Path(other).name for other in others]
    if len(set(names)) < len(names):
        names = ["_".join(Path(other).parts).strip("/_") for other in others]
    named = {name: load_answers(Path(other) / "answers.csv") for name, other in zip(names, others, strict=True)}
    metrics, notes = compare_answers(load_answers(Path(folder) / "answers.csv"), named, replicates, seed)
    write_json(Path(folder) / "vqa_comparison_notes.json", notes)
    write_json(Path(folder) / "vqa_comparison.json", metrics)

    def show(key: str) -> str:
        value, low, high = (metrics.get(k) for k in (key, f"{key}/low", f"{key}/high"))
        if value is None:
            return "-"
        return f"{value:.3f}" + ("" if low is None or high is None else f" ({low:.2f} to {high:.2f})")

    columns = {"ours": "ours"} | {
        f"{words}{name}": f"{name}{ending}" for name in named for words, ending in (("", ""), ("minus ", "/difference"))
    }
    print(f"| questions | number | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 2)}")
    for kind in [key.split("/")[1] for key in metrics if key.endswith("/n_questions")] + ["mean"]:
        count = metrics.get(f"vqa/{kind}/n_questions")
        cells = ["" if count is None else f"{count:.0f}", *(show(f"vqa/{kind}/{end}") for end in columns.values())]
        print(f"| {kind} | {' | '.join(cells)} |")


if __name__ == "__main__":
    fire.Fire(main)
