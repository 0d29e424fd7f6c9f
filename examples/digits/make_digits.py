"""Writes `digits.jsonl` from the images inside scikit-learn: `python examples/digits/make_digits.py`."""

import json
from pathlib import Path

from sklearn.datasets import load_digits

#: One character a pixel, brightness 0 to 16: a digit of base 17, so `int(character, 17)` reads it back.
SHADES = "0123456789abcdefg"


def main() -> None:
    """Write one line an image: its id, its 8 x 8 pixels row by row, and what its writer meant (the truth)."""
    digits = load_digits()
    with Path(__file__).with_name("digits.jsonl").open("w", encoding="utf-8", newline="\n") as out:
        for number, (image, label) in enumerate(zip(digits.data, digits.target, strict=True)):
            pixels = "".join(SHADES[int(shade)] for shade in image)
            row = {"id": f"digit-{number:04}", "pixels": pixels, "label": str(label)}
            out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
