"""A peer under a load of text: llama.cpp, a pass over all sequences at a time.

`python -m benchmarks.peers.llama_cpp_load FOLDER DTYPE` writes FOLDER as GGUF, once; see
`token_load`. llama-cpp-python's own server answers one request at a time; here its bindings of the
C interface are driven as llama.cpp's own server does: prompts and next tokens share each batch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from benchmarks.peers.token_load import Tell, serve


_MAX_SEQUENCES, _MAX_BATCH, _MAX_TOKENS = 16, 2048, 16_384

_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_OUTER = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def convert(folder: Path, target: Path, dtype: str) -> None:
    """Write a LlamaForCausalLM folder as GGUF, without a vocabulary: requests come as ids."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    heads, key_heads = config["num_attention_heads"], config["num_key_value_heads"]
    size = config.get("head_dim") or config["hidden_size"] // heads
    writer = gguf.GGUFWriter(str(target), "llama")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(key_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(_theta(config))
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    for name, weight in load_file(folder / "model.safetensors").items():
        values = weight.astype(np.float32)
        if "q_proj" in name or "k_proj" in name:
            values = _interleave(values, heads if "q_proj" in name else key_heads)
        if values.ndim == 1:
            writer.add_tensor(_name(name), values)
        else:
            kind = getattr(gguf.GGMLQuantizationType, {"bfloat16": "BF16", "float32": "F32"}[dtype])
            packed = gguf.quantize(values, kind)
            writer.add_tensor(_name(name), packed, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _theta(config: dict[str, object]) -> float:
    rope = config.get("rope_parameters") or {}
    assert isinstance(rope, dict)
    return float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0)


def _interleave(weight: np.ndarray, heads: int) -> np.ndarray:
    """Put the halves that are rotated together side by side, as llama.cpp has them."""
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


def _name(name: str) -> str:
    if name in _OUTER:
        return _OUTER[name]
    _, _, layer, inner = name.removesuffix(".weight").split(".", 3)
    return f"blk.{layer}.{_NAMES[inner]}.weight"


class LlamaCpp:
    """Drives one context; a sequence id for each request in flight."""

    def __init__(self, file: Path, tokenizer: Tokenizer, threads: int) -> None:
        llama_cpp.llama_backend_init()
        model_params = llama_cpp.llama_model_default_params()
        self._model = llama_cpp.llama_model_load_from_file(str(file).encode(), model_params)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = _MAX_TOKENS, _MAX_BATCH, 512
        params.n_seq_max = _MAX_SEQUENCES
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = True
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        self._memory = llama_cpp.llama_get_memory(self._context)
        vocabulary = llama_cpp.llama_model_get_vocab(self._model)
        self._vocabulary_size = llama_cpp.llama_vocab_n_tokens(vocabulary)
        self._batch = llama_cpp.llama_batch_init(_MAX_BATCH, 0, 1)
        self._tokenizer = tokenizer
        self._free = list(range(_MAX_SEQUENCES))
        self._waiting: list[tuple[int, list[int], int]] = []
        #: For each request: its sequence, the tokens to come next, their position, those left.
        self._held: dict[int, tuple[int, list[int], int, int]] = {}

    def admit(self, number: int, prompt: str, tokens: int) -> None:
        """Take a request."""
        self._waiting.append((number, self._tokenizer.encode(prompt).ids, tokens))

    def step(self, tell: Tell) -> None:
        """Run a pass over the next tokens of all, prompts of those that have just come included."""
        while self._waiting and self._free and self._has_room(len(self._waiting[0][1])):
            number, ids, tokens = self._waiting.pop(0)
            self._held[number] = self._free.pop(), ids, 0, tokens
        rows = self._fill()
        if llama_cpp.llama_decode(self._context, self._batch) != 0:
            raise RuntimeError("llama.cpp could not decode the batch.")
        for number, row in rows.items():
            self._go_on(number, row, tell)

    def _has_room(self, more: int) -> bool:
        return sum(len(ids) for _, ids, _, _ in self._held.values()) + more <= _MAX_BATCH

    def _fill(self) -> dict[int, int]:
        """Write the batch; give the row of each request's last token."""
        rows, at = {}, 0
        for number, (sequence, ids, position, _) in self._held.items():
            for place, token in enumerate(ids):
                self._batch.token[at] = token
                self._batch.pos[at] = position + place
                self._batch.n_seq_id[at] = 1
                self._batch.seq_id[at][0] = sequence
                self._batch.logits[at] = place == len(ids) - 1
                at += 1
            rows[number] = at - 1
        self._batch.n_tokens = at
        return rows

    def _go_on(self, number: int, row: int, tell: Tell) -> None:
        logits = llama_cpp.llama_get_logits_ith(self._context, row)
        token = int(np.ctypeslib.as_array(logits, (self._vocabulary_size,)).argmax())
        sequence, ids, position, left = self._held[number]
        tell(number, left == 1)
        self._held[number] = sequence, [token], position + len(ids), left - 1
        if left == 1:
            del self._held[number]
            llama_cpp.llama_memory_seq_rm(self._memory, sequence, -1, -1)
            self._free.append(sequence)


def main() -> None:
    """Serve it."""
    folder, dtype, threads = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    target = folder.with_name(f"{folder.name}-{dtype}.gguf")
    if not target.exists():
        convert(folder, target, dtype)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    serve(LlamaCpp(target, tokenizer, threads))


if __name__ == "__main__":
    main()
