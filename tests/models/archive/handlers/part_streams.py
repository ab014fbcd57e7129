"""Says two words of each text to whoever sent it, a part of a batch at a time."""

from itertools import chain, islice, repeat

from ts.handler_utils import micro_batching
from ts.handler_utils.utils import send_intermediate_predict_response as tell
from ts.torch_handler.base_handler import BaseHandler


class TwoWords(BaseHandler):
    def __init__(self):
        BaseHandler.__init__(self)
        self.handle = self.parts = micro_batching.MicroBatching(parent_handler=self)

    def initialize(self, context):
        for setting, value in context.model_yaml_config["micro_batching"].items():
            setattr(self.parts, setting, value)
        self.initialized = True

    def preprocess(self, rows):
        """Give as many texts as the model is compiled for; the last may be empty."""
        texts = (row["body"] if "body" in row else row["data"] for row in rows)
        return list(islice(chain(texts, repeat("")), self.parts.micro_batch_size))

    def senders(self):
        """Give the ids of those who sent this part, by their place in it."""
        width = self.parts.micro_batch_size
        everyone = self.context.request_ids
        behind = width * self.parts.get_micro_batch_idx()
        places = filter(lambda place: behind + place in everyone, range(width))
        return {place: everyone[behind + place] for place in places}

    def inference(self, texts):
        whose = self.senders()
        for word in ("one", "two"):
            tell([f"{texts[at]}:{word} " for at in whose], whose, "ok", 200, self.context)
        return dict.fromkeys(whose, "")

    def postprocess(self, left_to_say):
        return list(left_to_say.values())

    def describe_handle(self):
        return {"parts": self.parts.micro_batch_size}

    def get_insights(self, _, text, target):
        return [dict(text=text, target=target)]
