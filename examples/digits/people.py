"""A crowd of twelve simulated people beside the three models: for plans whose last stage asks people."""

import random
from collections.abc import Sequence
from zlib import crc32

from handlers import decode  # type: ignore[import-not-found]  # beside this file; it registers the three models
from sklearn.datasets import load_digits

from manyhands import Judgment, judge
from manyhands.handlers import asked

#: How often each of them reads an image right.
SKILLS = (0.99, 0.98, 0.98, 0.97, 0.97, 0.96, 0.96, 0.95, 0.95, 0.94, 0.92, 0.88)


@judge("people", version="1", batch=True)
class People:
    """Each slot of an image goes to another of them; whoever is asked twice says the same again."""

    def __init__(self) -> None:
        digits = load_digits()
        self.truths = {
            image.astype("uint8").tobytes(): str(label) for image, label in zip(digits.data, digits.target, strict=True)
        }

    def __call__(self, payloads: Sequence[str]) -> list[Judgment]:
        """Read the images, each by the person whose turn it is."""
        return [self.read(pixels, asked().slot) for pixels in payloads]

    def read(self, pixels: str, slot: int) -> Judgment:
        """What one person says: the truth, or now and then any other digit."""
        image = decode(pixels).tobytes()
        person = (crc32(image) + slot) % len(SKILLS)
        chance = random.Random(f"{person} {pixels}")
        truth = self.truths[image]
        value = truth if chance.random() < SKILLS[person] else chance.choice([d for d in "0123456789" if d != truth])
        return Judgment(value, worker=f"person-{person:02d}")
