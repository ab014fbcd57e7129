"""Unpacks its model's code and weights from a zip beside it, and answers with a file's bytes."""

import os
import uuid
import zipfile
from io import BytesIO

from PIL import Image
from ts.torch_handler.base_handler import BaseHandler


class ZippedHandler(BaseHandler):
    def __init__(self):
        self.initialized = False
        self.painter = None

    def initialize(self, context):
        model_dir = context.system_properties.get("model_dir")
        with zipfile.ZipFile(model_dir + "/models.zip", "r") as packed:
            packed.extractall(model_dir)
        from models.painter import Painter

        with open("./colours.txt") as colours:
            self.painter = Painter(colours.read().split())
        self.initialized = True

    def preprocess(self, requests):
        found = []
        for req in requests:
            data = req.get("data") if req.get("data") is not None else req.get("body", {})
            found.append({"number": data.get("number", 1), "colour": data.get("colour")})
        return found

    def inference(self, wanted):
        return [self.painter.paint(each["colour"], each["number"]) for each in wanted]

    def postprocess(self, pictures):
        given = []
        for picture in pictures:
            path = "/tmp/{}.png".format(uuid.uuid4().hex)
            picture.save(path)
            with open(path, "rb") as file:
                given.append(file.read())
            os.remove(path)
        return given
