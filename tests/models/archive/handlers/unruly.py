"""Does what handlers must not, when it is asked to."""

import os
import sys
import time

from ts.handler_utils.utils import send_intermediate_predict_response


class Unruly:
    def initialize(self, context):
        print("a line of the handler")

    def handle(self, data, context):
        answers = []
        for index, row in enumerate(data):
            wish = row["body"]
            if wish == "die":
                os._exit(3)
            elif wish == "exit":
                sys.exit(3)
            elif wish == "hang":
                time.sleep(3600)
            elif wish == "print":
                for _ in range(20):
                    print(("p" * 99 + "\n") * 100_000)
            elif wish == "stream":
                for step in range(3):
                    send_intermediate_predict_response(
                        [f"piece {step}"], {index: context.request_ids[index]}, "ok", 200, context
                    )
            elif wish == "fail":
                raise ValueError("asked to")
            answers.append({"pid": os.getpid(), "batch": len(data)})
        return answers
