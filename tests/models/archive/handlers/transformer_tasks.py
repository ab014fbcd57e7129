"""One handler for several tasks of transformers, told which by a file beside it."""

import ast
import json
import logging
import os
from abc import ABC

import torch
import transformers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)
from ts.torch_handler.base_handler import BaseHandler

logger = logging.getLogger(__name__)
logger.info("Transformers version %s", transformers.__version__)

KINDS = {
    "sequence_classification": AutoModelForSequenceClassification,
    "question_answering": AutoModelForQuestionAnswering,
    "token_classification": AutoModelForTokenClassification,
    "text_generation": AutoModelForCausalLM,
}


class TransformerTasks(BaseHandler, ABC):
    def __init__(self):
        super(TransformerTasks, self).__init__()
        self.initialized = False

    def initialize(self, ctx):
        self.manifest = ctx.manifest
        properties = ctx.system_properties
        model_dir = properties.get("model_dir")
        self.device = torch.device(
            "cuda:" + str(properties.get("gpu_id"))
            if torch.cuda.is_available() and properties.get("gpu_id") is not None
            else "cpu"
        )
        with open(os.path.join(model_dir, "setup_config.json")) as file:
            self.setup_config = json.load(file)
        if self.setup_config["save_mode"] == "torchscript":
            file = os.path.join(model_dir, self.manifest["model"]["serializedFile"])
            self.model = torch.jit.load(file, map_location=self.device)
        else:
            self.model = KINDS[self.setup_config["mode"]].from_pretrained(model_dir)
            self.model.to(self.device)
        # names without their folder: where it runs is where its files are
        if not any(each for each in os.listdir(model_dir) if each == "tokenizer.json" and os.path.isfile(each)):
            raise RuntimeError("the vocabulary is not here")
        self.tokenizer = AutoTokenizer.from_pretrained(model_dir)
        self.model.eval()
        names = os.path.join(model_dir, "index_to_name.json")
        if os.path.isfile(names):
            with open(names) as file:
                self.mapping = json.load(file)
        self.initialized = True

    def preprocess(self, requests):
        ids, masks = [], []
        for data in requests:
            text = data.get("data")
            if text is None:
                text = data.get("body")
            if isinstance(text, (bytes, bytearray)):
                text = text.decode("utf-8")
            if self.setup_config["captum_explanation"]:
                text = ast.literal_eval(text)["text"]
            pair = (text,)
            if self.setup_config["mode"] == "question_answering":
                asked = ast.literal_eval(text)
                pair = (asked["question"], asked["context"])
            length = int(self.setup_config["max_length"])
            inputs = self.tokenizer(*pair, max_length=length, padding="max_length", truncation=True, return_tensors="pt")
            ids.append(inputs["input_ids"].to(self.device))
            masks.append(inputs["attention_mask"].to(self.device))
        return torch.cat(ids, 0), torch.cat(masks, 0)

    def inference(self, input_batch):
        ids, masks = input_batch
        mode = self.setup_config["mode"]
        if mode == "text_generation":
            made = self.model.generate(ids, attention_mask=masks, max_new_tokens=3, do_sample=False)
            return [self.tokenizer.decode(each, skip_special_tokens=True) for each in made]
        found = self.model(ids, masks)
        if mode == "sequence_classification":
            print("This is the output", found)
            return [self.mapping[str(each.argmax().item())] for each in found[0]]
        if mode == "token_classification":
            labels = self.mapping["label_list"].strip("][").split(", ")
            tokens = [self.tokenizer.convert_ids_to_tokens(each.tolist()) for each in ids]
            return [
                [(token, labels[at]) for token, at in zip(words, row.argmax(1).tolist())]
                for words, row in zip(tokens, found[0])
            ]
        starts, ends = found[0], found[1]
        return [
            self.tokenizer.decode(row.tolist()[start.argmax() : end.argmax() + 1])
            for row, start, end in zip(ids, starts, ends)
        ]

    def postprocess(self, inference_output):
        return inference_output

    def get_insights(self, input_batch, text, target):
        from captum.attr import LayerIntegratedGradients

        if isinstance(text, (bytes, bytearray)):
            text = text.decode("utf-8")
        target = ast.literal_eval(text)["target"]
        ids, masks = input_batch
        embeddings = getattr(self.model, self.setup_config["embedding_name"]).embeddings
        lig = LayerIntegratedGradients(lambda inputs, mask: self.model(inputs, mask)[0], embeddings)
        found, delta = lig.attribute(
            inputs=ids,
            baselines=torch.zeros_like(ids),
            target=target,
            additional_forward_args=(masks,),
            n_steps=2,
            return_convergence_delta=True,
        )
        return [
            {
                "words": self.tokenizer.convert_ids_to_tokens(ids[0].tolist()),
                "importances": found.sum(dim=-1).squeeze(0).tolist(),
                "delta": delta[0].tolist(),
            }
        ]
