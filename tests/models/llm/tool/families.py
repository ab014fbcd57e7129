"""Chat templates, each with what a family's own has of tools, for the tests."""

from __future__ import annotations


HERMES = """{%- if tools %}<|system|>You may call one or more functions. Tools:
<tools>{% for tool in tools %}
{{ tool | tojson }}{% endfor %}
</tools>
Write each call within <tool_call></tool_call>: <tool_call>
{"name": <name>, "arguments": <arguments>}
</tool_call><|end|>{% endif %}
{%- for m in messages %}<|{{ m.role }}|>{{ m.content }}{% for call in m.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"""

LLAMA = """{%- if tools %}<|system|>Answer with JSON of the form
{"name": function name, "parameters": dictionary of arguments}. Functions: {{ tools | tojson }}
{%- endif %}
{%- for m in messages %}<|{{ m.role }}|>
{%- if m.tool_calls %}{% set call = m.tool_calls[0].function %}
{{- '{"name": "' + call.name + '", ' + '"parameters": ' + (call.arguments | tojson) + '}' }}
{%- else %}{{ m.content }}{% endif %}<|end|>{% endfor %}
{%- if add_generation_prompt %}<|assistant|>{% endif %}{# <|python_tag|> #}"""

MISTRAL = """{%- if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}
{%- for m in messages %}
{%- if m.tool_calls %}[TOOL_CALLS][{% for call in m.tool_calls %}
{%- if call.id | length != 9 %}{{ raise_exception("Ids of calls have 9 letters.") }}{% endif %}
{{- {"name": call.function.name, "arguments": call.function.arguments, "id": call.id} | tojson }}
{%- if not loop.last %}, {% endif %}{% endfor %}]</s>
{%- elif m.role == 'tool' %}[TOOL_RESULTS]{{ m.content }} {{ m.tool_call_id }}[/TOOL_RESULTS]
{%- else %}[INST]{{ m.content }}[/INST]{% endif %}{% endfor %}"""

TEMPLATES = {"hermes": HERMES, "llama3_json": LLAMA, "mistral": MISTRAL}

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place.",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "maxLength": 6},
                "unit": {"$ref": "#/$defs/unit"},
            },
            "required": ["place", "unit"],
            "additionalProperties": False,
            "$defs": {"unit": {"enum": ["celsius", "kelvin"]}},
        },
    },
}

NOW = {"type": "function", "function": {"name": "now"}}
