"""Counts up for each request, as handlers for continuous batching do that bring criteria."""


class Counting:
    def initialize(self, context):
        self.cache = {}

    def create_stopping_criteria(self, key):
        class Criterion:
            def __init__(self, cache):
                self.cache = cache

            def __call__(self, answer):
                if answer == "broken":
                    raise ValueError(answer)
                if self.cache[key]["most"] == 0:
                    return None
                is_last = answer["count"] >= self.cache[key]["most"]
                if is_last:
                    del self.cache[key]
                return is_last

        return Criterion(self.cache)

    def handle(self, data, context):
        answers = []
        for key, row in zip(context.request_ids.values(), data):
            if key not in self.cache:
                criterion = self.create_stopping_criteria(key)
                self.cache[key] = {"count": 0, "most": row["body"], "stopping_criteria": criterion}
            self.cache[key]["count"] += 1
            is_broken = self.cache[key]["most"] == 99
            answer = {"count": self.cache[key]["count"], "rows": len(data)}
            answers.append("broken" if is_broken else answer)
        context.stopping_criteria = [
            self.cache[key]["stopping_criteria"] for key in context.request_ids.values()
        ]
        return answers
