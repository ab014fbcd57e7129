"""Counts down for each request, a number a call, and remembers where it is by the request's id."""


class Countdown:
    def initialize(self, context):
        context.cache = {}

    def handle(self, data, context):
        answers = []
        for index, row in enumerate(data):
            key = context.request_ids[index]
            if context.get_request_header(index, "cached") != "true":
                context.cache[key] = int(row["body"])
            left = context.cache[key]
            context.cache[key] -= 1
            more = "true" if left > 0 else "false"
            context.set_response_header(index, "ts_stream_next", more)
            answers.append([left, len(data)])
        return answers
