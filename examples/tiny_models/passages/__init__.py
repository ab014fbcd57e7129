"""Generated passages with questions, answers and refusals, for training and for scoring."""

from .case import REFUSAL, Asked, Case, make_case, to_prompt
from .word import Split, Words


__all__ = ["REFUSAL", "Asked", "Case", "Split", "Words", "make_case", "to_prompt"]
