"""`ts.torch_handler.densenet_handler`: the classifier under an older name."""

from __future__ import annotations

from torchloom_models.archive.ts.torch_handler.image_classifier import ImageClassifier


class DenseNetHandler(ImageClassifier):
    """Gives the likeliest classes of each picture."""
