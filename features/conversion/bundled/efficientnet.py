"""EfficientNet-lite0 up to its pooled features: 224 x 224 pixels to 1280 numbers.

Source: tensorflow/tpu, models/official/efficientnet/lite; squeeze-and-excitation left out, ReLU6
instead of swish, stem and head not scaled. Padding is TensorFlow's "SAME": the odd pixel goes to the
right and the bottom.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from features.conversion.registry import EmbeddedWeights
from features.conversion.verify.export import export_graph
from features.encoders import write_spec

RESIZE = 256
CROP = 224
DIM = 1280
TOLERANCE = 1e-4
# repeats, kernel, stride of the first, expansion, output channels
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class SameConv(nn.Module):
    """Convolution with "SAME" padding on an even input, BatchNorm, and ReLU6 where `act` says so."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1, act: bool = True
    ) -> None:
        super().__init__()
        total = kernel - stride  # on an input whose size the stride divides
        self.pad = (total // 2, total - total // 2) * 2 if total > 0 else None
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        if self.pad is not None:
            x = nn.functional.pad(x, self.pad)
        x = self.norm(self.conv(x))
        return nn.functional.relu6(x) if self.act else x


class Block(nn.Module):
    """Inverted bottleneck: expand, depthwise, project; the input is added where the shape stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = SameConv(inputs, hidden, 1, 1) if expansion > 1 else nn.Identity()
        self.depthwise = SameConv(hidden, hidden, kernel, stride, groups=hidden)
        self.project = SameConv(hidden, outputs, 1, 1, act=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """Pixels [B, 224, 224, 3] uint8 to pooled features [B, 1280]; `classify` gives ImageNet's classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 32, 3, 2)
        blocks: list[nn.Module] = []
        channels = 32
        for repeats, kernel, stride, expansion, outputs in STAGES:
            for repeat in range(repeats):
                blocks.append(Block(channels, outputs, kernel, stride if repeat == 0 else 1, expansion))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = SameConv(channels, DIM, 1, 1)
        self.classifier = nn.Linear(DIM, 1000)

    def forward(self, pixels: Tensor) -> Tensor:
        x_BCHW = (pixels.permute(0, 3, 1, 2).float() - 127.0) / 128.0
        return self.head(self.blocks(self.stem(x_BCHW))).mean(dim=(2, 3))

    def classify(self, pixels: Tensor) -> Tensor:
        return self.classifier(self(pixels))


def load_module(weights: EmbeddedWeights) -> EfficientNetLite0:
    """The module with the package's weights, every one of them used and none missing."""
    state = torch.load(weights.locate()[0], map_location="cpu", weights_only=True)
    model = EfficientNetLite0()
    model.load_state_dict({_rename(name): value for name, value in state.items()}, strict=True)
    return model.eval()


def _rename(name: str) -> str:
    """A parameter's name in this module, given that in lukemelas/EfficientNet-PyTorch."""
    parts = name.split(".")
    if parts[0] != "_blocks":
        top = {"_conv_stem": "stem.conv", "_bn0": "stem.norm", "_conv_head": "head.conv"}
        top |= {"_bn1": "head.norm", "_fc": "classifier"}
        return ".".join([top[parts[0]], *parts[1:]])
    inside = {"_expand_conv": "expand.conv", "_bn0": "expand.norm", "_depthwise_conv": "depthwise.conv"}
    inside |= {"_bn1": "depthwise.norm", "_project_conv": "project.conv", "_bn2": "project.norm"}
    return ".".join(["blocks", parts[1], inside[parts[2]], *parts[3:]])


def convert(weights: EmbeddedWeights, directory: Path) -> None:
    """Write the encoder directory's files; raises `EncoderError` if the graph differs from the module."""
    difference = export_graph(
        load_module(weights),
        directory,
        example=_inputs(2),
        dynamic_shapes={"pixels": {0: torch.export.Dim("batch")}},
        checks=[_inputs(1), _inputs(3)],
        tolerance=TOLERANCE,
    )
    write_spec(
        directory,
        name="efficientnet-lite0",
        kind="image",
        dim=DIM,
        source=weights.describe(),
        preprocessing={"resize": RESIZE, "crop": CROP, "interpolation": "bicubic"},
        parity={"graph": difference},
    )


def _inputs(num: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"pixels": torch.randint(0, 256, (num, CROP, CROP, 3), dtype=torch.uint8, generator=generator)}
