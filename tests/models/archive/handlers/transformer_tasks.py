"""Serves the task that `task.json` names, with a model of transformers or a trace of one."""

import abc
import json
import logging
from ast import literal_eval
from pathlib import Path

import torch
import transformers as hf
from ts.torch_handler.base_handler import BaseHandler

log = logging.getLogger("text_task")


def classify(own, ids, seen):
    scores = own.model(ids, seen)[0]
    print("scores of this batch:", scores)
    return [own.names[str(best)] for best in scores.argmax(-1).tolist()]


def tag(own, ids, seen):
    best = own.model(ids, seen)[0].argmax(-1)
    tags = own.names["tags"]
    return [
        list(zip(own.words_of(row), (tags[number] for number in numbers)))
        for row, numbers in zip(ids, best.tolist())
    ]


def point(own, ids, seen):
    edges = torch.stack(own.model(ids, seen)[:2]).argmax(-1)
    return [
        own.tokenizer.decode(row[first : last + 1])
        for row, first, last in zip(ids.tolist(), *edges.tolist())
    ]


def go_on(own, ids, seen):
    longer = own.model.generate(
        input_ids=ids, attention_mask=seen, do_sample=False, max_new_tokens=3
    )
    return own.tokenizer.batch_decode(longer, skip_special_tokens=True)


TASKS = {
    "classify": (hf.AutoModelForSequenceClassification, classify),
    "tag": (hf.AutoModelForTokenClassification, tag),
    "point": (hf.AutoModelForQuestionAnswering, point),
    "go on": (hf.AutoModelForCausalLM, go_on),
}


def text_of(sent):
    return sent if isinstance(sent, str) else str(sent, "utf-8")


class TextTask(BaseHandler, abc.ABC):
    def initialize(self, context):
        home = Path(context.system_properties["model_dir"])
        gpu = context.system_properties.get("gpu_id")
        self.device = torch.device("cpu") if gpu is None else torch.device("cuda", int(gpu))
        self.task = json.loads((home / "task.json").read_text())
        kind, self.answer = TASKS[self.task["name"]]
        if self.task["is_traced"]:
            trace = home / context.manifest["model"]["serializedFile"]
            opened = torch.jit.load(trace, map_location=self.device)
        else:
            opened = kind.from_pretrained(home).to(self.device)
        self.model = opened.eval()
        self.tokenizer = self.open_tokenizer(home)
        names = home / "index_to_name.json"
        self.names = json.loads(names.read_text()) if names.exists() else {}
        log.info("ready to %s, in %s", self.task["name"], home)
        self.initialized = True

    def open_tokenizer(self, home):
        # by its name alone, as the handler runs in the folder of its files
        if not Path("tokenizer.json").is_file():
            raise FileNotFoundError(f"no tokenizer.json in {Path.cwd()}, which is not {home}")
        return hf.AutoTokenizer.from_pretrained(home)

    def words_of(self, row):
        return self.tokenizer.convert_ids_to_tokens(row.tolist())

    def read(self, row):
        """Give the one text of a row, or a question and its context."""
        (sent,) = (row[field] for field in ("body", "data") if row.get(field) is not None)
        text = text_of(sent)
        if self.task["is_explained"]:
            return [literal_eval(text)["text"]]
        if self.answer is point:
            both = literal_eval(text)
            return [both["question"], both["context"]]
        return [text]

    def preprocess(self, rows):
        columns = zip(*map(self.read, rows))
        made = self.tokenizer(
            *(list(column) for column in columns),
            return_tensors="pt",
            truncation=True,
            padding="max_length",
            max_length=self.task["longest"],
        ).to(self.device)
        return made.input_ids, made.attention_mask

    def inference(self, ready):
        return self.answer(self, *ready)

    def postprocess(self, answers):
        return answers

    def get_insights(self, ready, sent, _):
        from captum.attr import LayerGradientXActivation

        ids, seen = ready
        wanted = literal_eval(text_of(sent))["target"]
        trunk = getattr(self.model, self.task["trunk"])
        weigher = LayerGradientXActivation(lambda *both: self.model(*both).logits, trunk.embeddings)
        weights = weigher.attribute(ids, wanted, additional_forward_args=seen)
        return [
            {"for": wanted, "words": self.words_of(row), "weights": weight.tolist()}
            for row, weight in zip(ids, weights.sum(-1))
        ]
