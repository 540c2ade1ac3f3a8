"""Whisper's encoder with its log-mel front end: a waveform to one acoustic vector.

The weights are in CTranslate2's format and are read into transformers' `WhisperEncoder`. Two differences to
the original save the padding to 30 seconds. Windows and positions are as long as the longest clip of the
batch. Frames after a clip's end are masked, in the convolutions too, so that the vector of a clip does not
depend on the other clips of its batch.

B clips, S samples, T mel frames (10 ms), H hidden frames (20 ms), M mels, D width, N heads.
"""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperAttention, WhisperEncoder

from features.conversion.bundled.ctranslate2_format import read_model
from features.conversion.registry import EmbeddedWeights
from features.conversion.verify.export import export_graph
from features.encoders import HOP, N_FFT, WINDOW_SAMPLES, hann_window, mel_filters, write_spec
from features.media import SAMPLE_RATE

TOLERANCE = 1e-3


class LogMel(nn.Module):
    """Whisper's log-mel spectrogram; the Fourier transform is a convolution with its basis."""

    basis: Tensor
    filters: Tensor

    def __init__(self, num_mels: int) -> None:
        super().__init__()
        bins = np.arange(N_FFT // 2 + 1)[:, None] * np.arange(N_FFT)[None, :] * (2.0 * np.pi / N_FFT)
        basis = np.concatenate([np.cos(bins), np.sin(bins)]) * hann_window()
        self.register_buffer("basis", torch.from_numpy(basis.astype(np.float32))[:, None])
        self.register_buffer("filters", torch.from_numpy(mel_filters(num_mels)))

    def forward(self, waveform_BS: Tensor, real_BT: Tensor) -> Tensor:
        """Log-mel [B, M, T], at least each clip's maximum minus 8 decades, and zero after the clip's end."""
        start = waveform_BS[:, 1 : N_FFT // 2 + 1].flip(1)
        end = torch.zeros_like(waveform_BS[:, :1]).expand(-1, N_FFT)
        padded = torch.cat([start, waveform_BS, end], dim=1)
        spectrum = nn.functional.conv1d(padded[:, None], self.basis, stride=HOP)[:, :, : real_BT.shape[1]]
        real, imaginary = spectrum.chunk(2, dim=1)
        mel_BMT = torch.matmul(self.filters, real.square() + imaginary.square())
        log_BMT = mel_BMT.clamp(min=1e-10).log10()
        mask_B1T = real_BT[:, None]
        loudest = log_BMT.masked_fill(~mask_B1T, -10.0).amax(dim=(1, 2), keepdim=True)
        log_BMT = (torch.maximum(log_BMT, loudest - 8.0) + 4.0) / 4.0
        return log_BMT * mask_B1T


class AcousticEncoder(nn.Module):
    """The mean of Whisper's hidden frames inside the clip."""

    def __init__(self, encoder: WhisperEncoder, num_mels: int) -> None:
        super().__init__()
        self.log_mel = LogMel(num_mels)
        self.encoder = encoder

    def forward(self, waveform: Tensor, length: Tensor) -> Tensor:
        num_frames = (waveform.shape[1] + HOP - 1) // HOP
        frames_B = (length + HOP - 1) // HOP
        frame_T = torch.arange(num_frames, device=waveform.device)
        real_BT = frame_T[None] < frames_B[:, None]
        mel_BMT = self.log_mel(waveform, real_BT)
        return self.pool(*self.hidden_frames(mel_BMT, real_BT))

    def hidden_frames(self, mel_BMT: Tensor, real_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden frames [B, H, D], and the mask of the frames inside the clip [B, H]."""
        x = nn.functional.gelu(self.encoder.conv1(mel_BMT)) * real_BT[:, None]
        x_BHD = nn.functional.gelu(self.encoder.conv2(x)).transpose(1, 2)
        real_BH = real_BT[:, ::2]
        x_BHD = x_BHD + self.encoder.embed_positions.weight[: x_BHD.shape[1]]
        mask_B11H = torch.where(real_BH, 0.0, -1e9)[:, None, None]
        for layer in self.encoder.layers:
            x_BHD = x_BHD + attention(layer.self_attn, layer.self_attn_layer_norm(x_BHD), mask_B11H)
            hidden = nn.functional.gelu(layer.fc1(layer.final_layer_norm(x_BHD)))
            x_BHD = x_BHD + layer.fc2(hidden)
        return self.encoder.layer_norm(x_BHD), real_BH

    def pool(self, hidden_BHD: Tensor, real_BH: Tensor) -> Tensor:
        real_BH1 = real_BH[..., None].to(hidden_BHD.dtype)
        return (hidden_BHD * real_BH1).sum(1) / real_BH1.sum(1).clamp(min=1.0)


def attention(block: WhisperAttention, x_BHD: Tensor, mask_B11H: Tensor) -> Tensor:
    """Self-attention in explicit steps, since the fused operator with a mask cannot be exported."""

    def heads(projected_BHD: Tensor) -> Tensor:
        return projected_BHD.unflatten(-1, (block.num_heads, block.head_dim)).transpose(1, 2)

    query, key, value = heads(block.q_proj(x_BHD)), heads(block.k_proj(x_BHD)), heads(block.v_proj(x_BHD))
    score_BNHH = query @ key.transpose(2, 3) / math.sqrt(block.head_dim) + mask_B11H
    mixed = (score_BNHH.softmax(-1) @ value).transpose(1, 2).flatten(2)
    return block.out_proj(mixed)


def load_module(weights: EmbeddedWeights) -> AcousticEncoder:
    state = _encoder_state(read_model(weights.locate()[0]))
    num_mels, width = state["conv1.weight"].shape[1], state["conv1.weight"].shape[0]
    num_layers = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("layers."))
    config = WhisperConfig(
        d_model=width,
        num_mel_bins=num_mels,
        encoder_layers=num_layers,
        encoder_attention_heads=width // 64,
        encoder_ffn_dim=4 * width,
        max_source_positions=len(state["embed_positions.weight"]),
    )
    encoder = WhisperEncoder(config)
    encoder.load_state_dict(state, strict=True)
    return AcousticEncoder(encoder, num_mels).eval()


def _encoder_state(variables: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """CTranslate2's variables of the encoder under transformers' names, in float32.

    CTranslate2 keeps query, key and value in one matrix, and a zero bias for the key, which Whisper
    has none of.
    """
    state: dict[str, Tensor] = {}
    for name, array in variables.items():
        if not name.startswith("encoder/") or array.ndim == 0:
            continue
        value = torch.from_numpy(array.astype(np.float32))
        parts = name.split("/")[1:]
        if parts[-2:] == ["linear_0", parts[-1]] and parts[1:2] == ["self_attention"]:
            query, key, values = value.chunk(3)
            at = f"layers.{parts[0][6:]}.self_attn"
            state |= {f"{at}.q_proj.{parts[-1]}": query, f"{at}.v_proj.{parts[-1]}": values}
            if parts[-1] == "weight":
                state[f"{at}.k_proj.weight"] = key
            else:
                assert not key.any(), "Whisper's keys have no bias"
        else:
            state[_rename(parts)] = value
    return state


def _rename(parts: list[str]) -> str:
    if parts[0] == "position_encodings":
        return "embed_positions.weight"
    leaf = {"gamma": "weight", "beta": "bias"}.get(parts[-1], parts[-1])
    if not parts[0].startswith("layer_") or parts[0] == "layer_norm":
        return f"{parts[0]}.{leaf}"
    inside = {
        "self_attention/layer_norm": "self_attn_layer_norm",
        "self_attention/linear_1": "self_attn.out_proj",
        "ffn/layer_norm": "final_layer_norm",
        "ffn/linear_0": "fc1",
        "ffn/linear_1": "fc2",
    }["/".join(parts[1:-1])]
    return f"layers.{parts[0][6:]}.{inside}.{leaf}"


def convert(weights: EmbeddedWeights, directory: Path) -> None:
    """Write the encoder directory's files; raises `EncoderError` if the graph differs from the module."""
    module = load_module(weights)
    batch = torch.export.Dim("batch")
    samples = torch.export.Dim("samples", min=HOP * 3, max=WINDOW_SAMPLES)
    difference = export_graph(
        module,
        directory,
        example=_inputs([16123, 9000]),
        dynamic_shapes={"waveform": {0: batch, 1: samples}, "length": {0: batch}},
        checks=[_inputs([7321]), _inputs([40000, 3000, 39999]), _inputs([WINDOW_SAMPLES])],
        tolerance=TOLERANCE,
    )
    write_spec(
        directory,
        name="whisper-tiny.en",
        kind="audio",
        dim=module.encoder.config.d_model,
        source=weights.describe(),
        preprocessing={"sample_rate": SAMPLE_RATE, "max_samples": WINDOW_SAMPLES},
        parity={"graph": difference},
    )


def _inputs(lengths: list[int]) -> dict[str, Tensor]:
    """Noise of these lengths in samples, right-padded."""
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn((len(lengths), max(lengths)), generator=generator)
    length = torch.tensor(lengths)
    return {"waveform": noise * (torch.arange(max(lengths))[None] < length[:, None]), "length": length}
