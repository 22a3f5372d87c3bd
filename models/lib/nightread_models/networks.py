"""The networks that Nightread's models use, in plain PyTorch.

`DenseNet121` has the topology and the parameter names of torchvision's and TorchXRayVision's
`densenet121` (Huang et al., "Densely Connected Convolutional Networks", 2017), with a first
convolution of one channel. `ResNet50` has those of torchvision's `resnet50` (He et al., 2016, with
the stride in the 3x3 convolution). Checkpoints of either origin therefore load by key.

Both return `(logits, cam)`: `cam` is the class-activation map of Zhou et al. 2016, a 1x1 convolution
of the last feature map with the classifier's weights, so that `cam.mean((2, 3)) + bias == logits`.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROWTH = 32
BLOCKS = (6, 12, 24, 16)
INIT_FEATURES = 64
BOTTLENECK = 4


class DenseLayer(nn.Module):
    """BN-ReLU-Conv1x1-BN-ReLU-Conv3x3; adds `GROWTH` channels to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = BOTTLENECK * GROWTH
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, GROWTH, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, c, h, w) -> (batch, c + 32, h, w)."""
        new = self.conv1(F.relu(self.norm1(x)))
        new = self.conv2(F.relu(self.norm2(new)))
        return torch.cat([x, new], 1)


class Transition(nn.Module):
    """BN-ReLU-Conv1x1-AvgPool2: halves channels, height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, c, h, w) -> (batch, c / 2, h / 2, w / 2)."""
        return F.avg_pool2d(self.conv(F.relu(self.norm(x))), 2, 2)


class DenseNet121(nn.Module):
    """DenseNet-121 on one-channel images, values in [-1024, 1024].

    6,974,234 parameters for 26 outputs, 6,966,034 for 18.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["conv0"] = nn.Conv2d(1, INIT_FEATURES, 7, stride=2, padding=3, bias=False)
        layers["norm0"] = nn.BatchNorm2d(INIT_FEATURES)
        layers["relu0"] = nn.ReLU()
        layers["pool0"] = nn.MaxPool2d(3, stride=2, padding=1)
        channels = INIT_FEATURES
        for block, depth in enumerate(BLOCKS, start=1):
            dense: OrderedDict[str, nn.Module] = OrderedDict()
            for layer in range(1, depth + 1):
                dense[f"denselayer{layer}"] = DenseLayer(channels)
                channels += GROWTH
            layers[f"denseblock{block}"] = nn.Sequential(dense)
            if block < len(BLOCKS):
                layers[f"transition{block}"] = Transition(channels)
                channels //= 2
        layers["norm5"] = nn.BatchNorm2d(channels)
        self.features = nn.Sequential(layers)
        self.classifier = nn.Linear(channels, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, 1, 224, 224) -> logits (batch, outputs), cam (batch, outputs, 7, 7)."""
        return classify(F.relu(self.features(image)), self.classifier)


class Bottleneck(nn.Module):
    """ResNet's bottleneck: 1x1, 3x3 (carries the stride), 1x1 to four times `width`, plus the shortcut."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = 4 * width
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, h, w) -> (batch, 4 width, h / stride, w / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return F.relu(self.bn3(self.conv3(out)) + shortcut)


class ResNet50(nn.Module):
    """ResNet-50 on three-channel images; 23,626,874 parameters for 58 outputs."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        channels = 64
        for stage, (width, depth) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=1):
            blocks: list[nn.Module] = []
            for block in range(depth):
                stride = 2 if block == 0 and stage > 1 else 1
                blocks.append(Bottleneck(channels, width, stride))
                channels = 4 * width
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, 3, 45, 45) -> logits (batch, outputs), cam (batch, outputs, 2, 2)."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(image))), 3, stride=2, padding=1)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return classify(x, self.fc)


def classify(features: Tensor, classifier: nn.Linear) -> tuple[Tensor, Tensor]:
    """Logits (batch, outputs) and class-activation maps (batch, outputs, h, w) of a feature map."""
    cam = F.conv2d(features, classifier.weight[:, :, None, None])
    # Average after the convolution: one read of the features, and the maps explain the logit exactly.
    return cam.mean((2, 3)) + classifier.bias, cam


def parameter_count(network: nn.Module) -> int:
    """Number of trained parameters (buffers such as running means are not counted)."""
    return sum(p.numel() for p in network.parameters())
