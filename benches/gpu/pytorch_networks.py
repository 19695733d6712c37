"""The networks of `networks.py` by PyTorch's own layers, compiled and captured as CUDA graphs: what stands beside our figures.

Prints rows a second as JSON.  usage: pytorch_networks.py resnet50|bert_base SECONDS MODE
MODE is one of torch.compile's, such as `max-autotune-no-cudagraphs`: the graph is captured here, around everything.
"""

import json
import sys
import time

import torch
from torch import nn


def bert_base():
    """The encoder of `networks.bert_base`, by PyTorch's own layers."""
    class Bert(nn.Module):
        def __init__(self, width=768):
            super().__init__()
            self.words, self.places = nn.Embedding(30522, width), nn.Parameter(torch.zeros(128, width))
            self.norm, self.pool = nn.LayerNorm(width), nn.Linear(width, width)
            layer = nn.TransformerEncoderLayer(width, 12, 4 * width, 0.0, "gelu", batch_first=True)
            self.layers = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)

        def forward(self, tokens):
            value = self.layers(self.norm(self.words(tokens) + self.places))
            return torch.tanh(self.pool(value[:, 0]))

    return Bert(), torch.randint(0, 30522, (32, 128), device="cuda")


def resnet50():
    """The network of `networks.resnet50`, by PyTorch's own layers."""
    class Block(nn.Module):
        def __init__(self, channels, width, stride):
            super().__init__()
            self.inner = nn.Sequential(
                nn.Conv2d(channels, width, 1), nn.ReLU(), nn.Conv2d(width, width, 3, stride, 1), nn.ReLU(), nn.Conv2d(width, 4 * width, 1))
            self.around = nn.Conv2d(channels, 4 * width, 1, stride) if stride > 1 or channels != 4 * width else nn.Identity()

        def forward(self, value):
            return torch.relu(self.inner(value) + self.around(value))

    blocks, channels = [], 64
    for stage, (count, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)]):
        for block in range(count):
            blocks.append(Block(channels, width, 2 if stage > 0 and block == 0 else 1))
            channels = 4 * width
    model = nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))
    return model, torch.randn(64, 3, 224, 224, device="cuda", dtype=torch.half)


def rate(model, data, seconds, mode):
    """Rows a second of the compiled network, batch after batch."""
    model = torch.compile(model.half().eval().cuda(), mode=mode)
    with torch.inference_mode():
        for _ in range(5):
            model(data)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            model(data)
        torch.cuda.synchronize()
        begin, count = time.monotonic(), 0
        while time.monotonic() - begin < seconds:
            graph.replay()
            torch.cuda.synchronize()
            count += 1
        return len(data) * count / (time.monotonic() - begin)


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in ("resnet50", "bert_base"):
        sys.exit(__doc__)
    network = {"resnet50": resnet50, "bert_base": bert_base}[sys.argv[1]]
    print(json.dumps({"rows_per_second": rate(*network(), float(sys.argv[2]), sys.argv[3])}))
