"""Three models that read handwritten digits, none of them ever asked about an image it was trained on."""

from collections.abc import Sequence
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from manyhands import Judgment, judge

Image = NDArray[np.uint8]

#: Every judge holds this many models; each was trained without the images of one fold.
FOLDS = 5


def decode(pixels: str) -> Image:
    """The 64 brightnesses, 0 to 16, of an image written one base-17 digit a pixel."""
    return np.array([int(shade, 17) for shade in pixels], dtype=np.uint8)


def fold_of(image: Image) -> int:
    """The fold of an image, told by its pixels alone: so twins share it, and a payload needs no mark."""
    return crc32(image.tobytes()) % FOLDS


class CrossFitted:
    """A judge of as many models as folds: an image is read by the model that never saw it.

    It trains on scikit-learn's own copy of the images, so a worker needs this file and nothing beside it.
    """

    def __init__(self) -> None:
        digits = load_digits()
        images, labels = digits.data.astype(np.uint8), digits.target.astype(str)
        folds = np.array([fold_of(image) for image in images])
        self.models = [
            self.untrained().fit(images[folds != fold].astype(float), labels[folds != fold]) for fold in range(FOLDS)
        ]

    def untrained(self) -> Any:
        """A fresh scikit-learn classifier with `predict_proba`: deterministic, single-threaded."""
        raise NotImplementedError

    def __call__(self, payloads: Sequence[str]) -> list[Judgment]:
        """Read the images, each with its fold's model; the confidence is the model's own probability."""
        images = np.array([decode(pixels) for pixels in payloads])
        folds = np.array([fold_of(image) for image in images])
        judgments: list[Judgment | None] = [None] * len(payloads)
        for fold in np.unique(folds):
            model, members = self.models[fold], np.flatnonzero(folds == fold)
            for member, odds in zip(members, model.predict_proba(images[members].astype(float)), strict=True):
                best = int(odds.argmax())
                judgments[member] = Judgment(str(model.classes_[best]), round(float(odds[best]), 4))
        return [judgment for judgment in judgments if judgment is not None]


@judge("svm", version="1", batch=True)
class Svm(CrossFitted):
    """A support vector machine with a Gaussian kernel, its margins calibrated into probabilities."""

    def untrained(self) -> Any:
        """Calibration needs held-out margins: three inner folds give them, and one final fit judges."""
        return CalibratedClassifierCV(SVC(gamma=0.001, C=10), cv=3, ensemble=False)


@judge("forest", version="1", batch=True)
class Forest(CrossFitted):
    """A forest of extremely randomised trees; the confidence is the share of the vote."""

    def untrained(self) -> Any:
        """A hundred trees: more add time, not accuracy."""
        return ExtraTreesClassifier(n_estimators=100, random_state=0, n_jobs=1)


@judge("neighbours", version="1", batch=True)
class Neighbours(CrossFitted):
    """The five most similar images vote, the nearer the heavier."""

    def untrained(self) -> Any:
        """A k-d tree answers row by row, so ties fall the same way whatever suite an image comes in."""
        return KNeighborsClassifier(n_neighbors=5, weights="distance", algorithm="kd_tree", n_jobs=1)
