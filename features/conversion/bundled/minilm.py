"""all-MiniLM-L6-v2: BERT, mean over the text's tokens, unit length.

Source: Reimers and Gurevych 2019, Sentence-BERT; the model's 1_Pooling/config.json and modules.json.
"""

import shutil
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel
from transformers.utils import logging as transformers_logging

from features.conversion.registry import EmbeddedWeights
from features.conversion.verify.export import export_graph
from features.encoders import TOKENIZER_FILE, write_spec

MAX_TOKENS = 256  # sentence_bert_config.json: the limit in training; BERT's own limit is 512
TOLERANCE = 1e-4


class SentenceEncoder(nn.Module):
    """B texts, L tokens, D width."""

    def __init__(self, bert: BertModel) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden_BLD = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask_BL1 = attention_mask.unsqueeze(-1).to(hidden_BLD.dtype)
        mean_BD = (hidden_BLD * mask_BL1).sum(1) / mask_BL1.sum(1).clamp(min=1.0)
        return nn.functional.normalize(mean_BD, dim=-1)


def load_module(weights: EmbeddedWeights) -> SentenceEncoder:
    model_path = weights.locate()[0].parent
    config = BertConfig.from_pretrained(model_path, attn_implementation="eager")
    transformers_logging.disable_progress_bar()
    bert = BertModel.from_pretrained(model_path, config=config, local_files_only=True)
    return SentenceEncoder(bert).eval()


def convert(weights: EmbeddedWeights, directory: Path) -> None:
    """Write the encoder directory's files; raises `EncoderError` if the graph differs from the module."""
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", min=2, max=512)
    axes = {0: batch, 1: length}
    difference = export_graph(
        load_module(weights),
        directory,
        example=_inputs([5, 7, 3]),
        dynamic_shapes={"input_ids": axes, "attention_mask": axes},
        checks=[_inputs([2]), _inputs([9, 4]), _inputs([MAX_TOKENS, 30, 2])],
        tolerance=TOLERANCE,
    )
    shutil.copyfile(weights.locate()[2], directory / TOKENIZER_FILE)
    write_spec(
        directory,
        name="minilm-l6",
        kind="text",
        dim=384,
        source=weights.describe(),
        preprocessing={"max_tokens": MAX_TOKENS, "pad_token": "[PAD]"},
        parity={"graph": difference},
    )


def _inputs(lengths: list[int]) -> dict[str, Tensor]:
    """Token ids of texts of these lengths, right-padded."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1000, 30000, (len(lengths), max(lengths)), generator=generator)
    mask = (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).long()
    return {"input_ids": ids * mask, "attention_mask": mask}
