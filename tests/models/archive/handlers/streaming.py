"""Sends pieces of its answer before it returns."""

from ts.handler_utils.utils import send_intermediate_predict_response


def handle(data, context):
    if data is None:
        return None
    for step in range(3):
        send_intermediate_predict_response(
            [f"{row['body']}-{step} " for row in data],
            context.request_ids,
            "Intermediate Prediction success",
            200,
            context,
        )
    return ["end" for _ in data]
