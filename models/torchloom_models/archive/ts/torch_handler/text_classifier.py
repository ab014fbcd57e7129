"""`ts.torch_handler.text_classifier`."""

from __future__ import annotations

from typing import Any

import torch

from torchloom_models.archive.insight import weigh_tokens
from torchloom_models.archive.label import map_class_to_label
from torchloom_models.archive.ts.handler_utils.text_utils import ngrams_iterator
from torchloom_models.archive.ts.handler_utils.timer import timed
from torchloom_models.archive.ts.torch_handler.text_handler import TextHandler


class TextClassifier(TextHandler):
    """Gives the probability of each class of a text, for models over bags of n-grams.

    Works on one text at a time: of a batch, the first is answered, so that all are tried alone.
    """

    ngrams = 2

    @timed
    def preprocess(self, data: Any) -> Any:
        """Give the numbers of a text's n-grams, and its tokens."""
        row = data[0]
        text = row.get("data")
        text = row.get("body") if text is None else text
        if isinstance(text, bytes | bytearray):
            text = text.decode("utf-8")
        for clean in (
            self._remove_html_tags,
            self._lowercase_text,
            self._expand_contractions,
            self._remove_accented_characters,
            self._remove_punctuation,
        ):
            text = clean(text)
        tokens = self._tokenize(text)
        known = [self.source_vocab.get(each) for each in ngrams_iterator(tokens, self.ngrams)]
        unknown = self.source_vocab.get("<unk>", 0)
        numbers = [unknown if each is None else each for each in known] or [unknown]
        return torch.as_tensor(numbers, device=self.device), text

    @timed
    def inference(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """Run the model on one bag."""
        numbers, _ = data
        offsets = torch.as_tensor([0], device=self.device)
        with torch.inference_mode():
            return self.model(numbers, offsets, *args, **kwargs)

    @timed
    def postprocess(self, data: Any) -> Any:
        """Give probabilities by label, in the order of classes."""
        probabilities = torch.nn.functional.softmax(data, dim=-1)
        return map_class_to_label(probabilities.tolist(), self.mapping)

    def get_insights(self, text_preprocess: Any, _: Any, target: Any = 0) -> Any:
        """Give how much each word, and each group of words, counts for a class; they follow.

        The importances are those of one text, and so a list in a list.
        """
        numbers, text = text_preprocess
        words = list(ngrams_iterator(self._tokenize(text), self.ngrams)) or ["<unk>"]
        return [{"importances": [weigh_tokens(self.model, numbers, target)], "words": words}]
