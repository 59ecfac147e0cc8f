"""One format for every JSON file of configs/: python -m scripts.format_json [--check]"""

import json
import sys
from pathlib import Path

import fire

from scripts.switches import with_switches

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
WIDTH = 120


def pretty(value: object, indent: int = 0) -> str:
    """JSON with four spaces; what fits into a line stays on one, unless it is a component with parts of its own."""
    flat = json.dumps(value, ensure_ascii=False)
    nested = isinstance(value, dict) and any(isinstance(v, dict | list) and v for v in value.values())
    if not isinstance(value, dict | list) or not value or (len(flat) + indent + 20 <= WIDTH and not nested and indent):
        return flat
    pad = " " * (indent + 4)
    if isinstance(value, dict):
        parts = [f"{json.dumps(k, ensure_ascii=False)}: {pretty(v, indent + 4)}" for k, v in value.items()]
        left, right = "{", "}"
    else:
        parts = [pretty(v, indent + 4) for v in value]
        left, right = "[", "]"
    return f"{left}\n{pad}" + f",\n{pad}".join(parts) + f"\n{' ' * indent}{right}"


def main(check: bool = False) -> None:
    """Rewrite what is not in form; with --check, only say so and exit with 1."""
    wrong = []
    for path in sorted(CONFIGS.glob("*.json")):
        text = path.read_text(encoding="utf-8")
        formatted = pretty(json.loads(text)) + "\n"
        if text != formatted:
            wrong.append(path.name)
            if not check:
                path.write_text(formatted, encoding="utf-8")
    if wrong and check:
        sys.exit(f"Not in form (python -m scripts.format_json mends it): {', '.join(wrong)}")
    print(f"configs/: {len(wrong)} rewritten" if wrong else "configs/: all in form")


if __name__ == "__main__":
    fire.Fire(with_switches(main))
