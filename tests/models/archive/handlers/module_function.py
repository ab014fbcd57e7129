"""The other old form: a module-level function around an object of the module."""


class Doubler:
    def __init__(self):
        self.calls = []

    def initialize(self, context):
        self.name = context.model_name

    def run(self, rows):
        return [2 * (row.get("body") or row["data"]) for row in rows]


class Other:
    """A second class: fine, since there is an entry function."""


_service = Doubler()


def handle(data, context):
    if data is None:
        _service.initialize(context)
        return None
    return _service.run(data)


def elsewhere(data, context):
    """Named with file:function."""
    if data is None:
        return
    return [f"{_service.calls}{context.get_request_id(0)}" for _ in data]
