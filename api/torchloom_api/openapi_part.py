"""Parts of the OpenAPI document that stay as they are: problems, headers, bodies read by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final


Json = dict[str, object]

PROBLEM: Final[Json] = {
    "description": "What went wrong (RFC 9457).",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                    "instance": {"type": "string"},
                    "retry_after_s": {"type": "number"},
                    "errors": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {
                                "message": {"type": "string"},
                                "pointer": {"type": "string"},
                                "file": {"type": "string"},
                                "line": {"type": "integer"},
                                "column": {"type": "integer"},
                            },
                            "required": ["message"],
                        },
                    },
                },
                "required": ["type", "title", "status", "detail"],
            }
        }
    },
}

TIMINGS: Final[Json] = {
    "type": "object",
    "properties": {
        "total_s": {"type": "number"},
        "nodes": {"type": "object"},
        "critical_path": {"type": "array", "items": {"type": "string"}},
    },
}

HEADERS: Final[list[Json]] = [
    {
        "name": "X-Request-Timeout",
        "in": "header",
        "description": "Seconds after which the answer is no longer wanted.",
        "schema": {"type": "number", "exclusiveMinimum": 0},
    },
    {
        "name": "X-Priority",
        "in": "header",
        "description": "Higher goes first.",
        "schema": {"type": "integer", "minimum": -100, "maximum": 100, "default": 0},
    },
]

BACKGROUND: Final[Json] = {
    "name": "background",
    "in": "query",
    "description": "Answer at once with the address of the run.",
    "schema": {"type": "boolean", "default": False},
}

EVENTS: Final[Json] = {
    "schema": {"type": "string", "description": "Server-sent events, with rising ids."}
}

_DOCUMENT_BODY: Final[Json] = {
    "required": True,
    "description": "The file as users write it.",
    "content": {
        "application/yaml": {"schema": {"type": "string"}},
        "application/json": {"schema": {"type": "object"}},
    },
}

_TRAFFIC_BODY: Final[Json] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "weights": {
                        "type": "object",
                        "propertyNames": {"pattern": "^[1-9][0-9]{0,8}$"},
                        "additionalProperties": {"type": "number", "minimum": 0},
                    },
                    "shadow": {
                        "type": ["object", "null"],
                        "description": "A version that gets copies of requests others answer.",
                        "properties": {
                            "version": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
                            "percent": {"type": "number", "exclusiveMinimum": 0, "maximum": 100},
                        },
                        "required": ["version", "percent"],
                        "additionalProperties": False,
                    },
                },
                "required": ["weights"],
                "additionalProperties": False,
            }
        }
    },
}

#: Bodies that handlers read themselves, by the operation's id.
BODIES: Final[Mapping[str, Json]] = {
    "checkWorkflow": _DOCUMENT_BODY,
    "addWorkflow": _DOCUMENT_BODY,
    "putWorkflow": _DOCUMENT_BODY,
    "addModel": _DOCUMENT_BODY,
    "changeModel": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "replicas": {
                            "type": "object",
                            "properties": {
                                "min": {"type": "integer", "minimum": 0, "maximum": 256},
                                "max": {"type": "integer", "minimum": 0, "maximum": 256},
                                "wait_s": {"type": "number", "minimum": 0, "maximum": 3600},
                                "idle_s": {
                                    "type": "number",
                                    "exclusiveMinimum": 0,
                                    "maximum": 604_800,
                                },
                            },
                            "additionalProperties": False,
                        },
                        "traffic": {"type": "object", "additionalProperties": {"type": "number"}},
                    },
                    "additionalProperties": False,
                }
            }
        },
    },
    "loadAdapter": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}, "source": {"type": "string"}},
                    "required": ["name", "source"],
                    "additionalProperties": False,
                }
            }
        },
    },
    "splitModelTraffic": _TRAFFIC_BODY,
    "splitWorkflowTraffic": _TRAFFIC_BODY,
    "runWorkflow": {
        "required": True,
        "description": "The workflow's inputs, by name.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    },
    "predictWithModel": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"inputs": {"type": "object"}, "params": {"type": "object"}},
                    "required": ["inputs"],
                    "additionalProperties": False,
                }
            }
        },
    },
}
