"""Paints strips of one colour, with code and paints that lie beside it."""

import importlib
import shutil
import tempfile
from pathlib import Path

from ts.torch_handler.base_handler import BaseHandler


class Strips(BaseHandler):
    def __init__(self):
        # without the base's own
        self.initialized = self.painter = None

    def initialize(self, context):
        home = Path(context.system_properties["model_dir"])
        shutil.unpack_archive(home / "studio.zip", home)
        paints = Path("colours.txt").read_text().split()
        self.painter = importlib.import_module("studio.painter").Painter(paints)
        self.initialized = True

    def preprocess(self, rows):
        orders = [row.get("body") or row["data"] for row in rows]
        return [(order["colour"], order.get("number", 1)) for order in orders]

    def inference(self, orders):
        return [self.painter.paint(*order) for order in orders]

    def postprocess(self, strips):
        return list(map(self.as_file, strips))

    @staticmethod
    def as_file(strip):
        with tempfile.TemporaryFile(suffix=".png") as sheet:
            strip.save(sheet, "PNG")
            sheet.seek(0)
            return sheet.read()
