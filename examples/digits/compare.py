"""How many of the answers are right, which no judge was told: `python compare.py out/digits/answers.csv`."""

import csv
import json
import sys
from pathlib import Path


def main(answers: str) -> None:
    """Compare them with the labels of the source."""
    lines = (Path(__file__).parent / "digits.jsonl").read_text().splitlines()
    labels = {row["id"]: row["label"] for row in map(json.loads, lines)}
    with Path(answers).open(newline="") as file:
        rows = list(csv.DictReader(file))
    right = sum(row["answer"] == labels[row["id"]] for row in rows)
    asked = sum(int(row["judgments"]) for row in rows)
    print(f"{right:,} of {len(labels):,} images are read right: {right / len(labels):.2%}, with {asked:,} judgments")


if __name__ == "__main__":
    main(sys.argv[1])
