"""Counts and measures in every way there is."""

from ts.metrics.dimension import Dimension
from ts.metrics.metric_type_enum import MetricTypes


class Measuring:
    def initialize(self, context):
        self.context = context
        metrics = context.metrics
        self.calls = metrics.add_metric_to_cache(
            metric_name="Calls", unit="count", dimension_names=["Kind"], metric_type=MetricTypes.COUNTER
        )

    def handle(self, data, context):
        metrics = context.metrics
        self.calls.add_or_update(len(data), ["plain"])
        metrics.get_metric("Calls", MetricTypes.COUNTER).update(1, dimensions=[Dimension("Kind", "x")])
        metrics.add_counter("Rows", len(data), 0, [Dimension("Color", "red")])
        metrics.add_time("Took", 1.5, None, "ms")
        metrics.add_size("Held", 2.5)
        metrics.add_percent("Share", 50)
        metrics.add_error("Wrong", 1)
        metrics.add_metric("Own", 3, unit="count", metric_type=MetricTypes.HISTOGRAM)
        return ["ok"] * len(data)
