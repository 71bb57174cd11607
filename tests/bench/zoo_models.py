# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Vision models that nobody here wrote, by name, with random weights and
statistics. To be imported by zoo.py in its own Python."""

import dataclasses

import torch
from torch import nn

from zoo_timm import TIMM

# name: size of the picture, 128 if there is none
TORCHVISION = {
    "alexnet": 224, "vgg11_bn": 224, "resnet18": 0, "resnet50": 0,
    "resnext50_32x4d": 0, "wide_resnet50_2": 64, "squeezenet1_0": 0,
    "squeezenet1_1": 0, "densenet121": 0, "googlenet": 0,
    "inception_v3": 160, "mobilenet_v2": 0, "mobilenet_v3_small": 0,
    "mobilenet_v3_large": 0, "shufflenet_v2_x0_5": 0, "mnasnet0_5": 0,
    "efficientnet_b0": 0, "efficientnet_v2_s": 0, "regnet_x_400mf": 0,
    "regnet_y_400mf": 0, "convnext_tiny": 64, "vit_b_32": 224, "swin_t": 224,
    "swin_v2_t": 256, "maxvit_t": 224, "fcn_resnet50": 0,
    "deeplabv3_mobilenet_v3_large": 0, "lraspp_mobilenet_v3_large": 0,
}
# heads before boxes are chosen, and pairs of pictures
TORCHVISION_PARTS = {
    "retinanet_resnet50_fpn": 0, "ssdlite320_mobilenet_v3_large": 320,
    "ssd300_vgg16": 300, "fcos_resnet50_fpn": 0,
    "fasterrcnn_mobilenet_v3_large_fpn": 0, "raft_small": 128,
}
ULTRALYTICS = (
    "yolov3-tiny", "yolov5n", "yolov6n", "yolov8n", "yolov8n-seg",
    "yolov8n-cls", "yolov8n-pose", "yolov8n-obb", "yolov9t", "yolov10n",
    "yolo11n", "yolo12n", "rtdetr-resnet50")
SMP = ("Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "PAN",
       "DeepLabV3", "DeepLabV3Plus", "UPerNet", "Segformer")
TRANSFORMERS = (
    "vit", "deit", "beit", "dinov2", "convnextv2", "segformer", "swinv2",
    "mobilevit", "poolformer", "levit", "cvt", "pvt", "glpn", "dpt",
    "depth_anything", "upernet", "yolos", "clip_vision", "siglip_vision",
    "focalnet", "bit", "resnet", "mobilenet_v1", "swin2sr", "superpoint",
    "hiera")


def spread(module, x):
    """Weights that start as constants, zeros above all, would hide what is
    wrong behind them: they become random, and statistics of batches those of
    noise, moved a little."""
    with torch.no_grad():
        for p in list(module.parameters()):
            first = p.flatten()[:1]
            if p.numel() and p.is_floating_point() and bool((p == first).all()):
                if float(first) == 0:
                    p.normal_(0, 0.05)
                else:
                    p.uniform_(0.5, 1)
        module.eval()
        norms = [m for m in module.modules()
                 if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        for m in norms:
            m.train()
            m.momentum = None
        if norms:
            # maps of one pixel would have no variance
            module(torch.cat([x, torch.randn_like(x)]))
        for m in norms:
            m.eval()
            if m.running_mean is not None:
                m.running_mean += 0.05 * torch.randn_like(m.running_mean)
                m.running_var *= 0.8 + 0.4 * torch.rand_like(m.running_var)


def flatten(value):
    if isinstance(value, torch.Tensor):
        return [value]
    if dataclasses.is_dataclass(value) and not isinstance(value, dict):
        value = vars(value)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [t for v in value for t in flatten(v)]
    return []


class Flat(nn.Module):
    """Outputs as a tuple."""

    def __init__(self, module, call=None):
        super().__init__()
        self.module = module
        self.call = call

    def forward(self, x):
        y = self.call(self.module, x) if self.call else self.module(x)
        return tuple(t for t in flatten(y) if t.is_floating_point())


# -- where they come from --


def make_torchvision(name):
    from torchvision import models
    make = getattr(models, name, None) or getattr(models.segmentation, name)
    more = {}
    if name in ("googlenet", "inception_v3"):
        more = {"aux_logits": True, "init_weights": False}
    if name in ("fcn_resnet50", "deeplabv3_mobilenet_v3_large",
                "lraspp_mobilenet_v3_large"):
        more = {"weights_backbone": None}
    return Flat(make(weights=None, **more)), TORCHVISION[name] or 128, 3


def call_heads(model, x):
    features = list(model.backbone(x).values())
    head = model.rpn.head if hasattr(model, "rpn") else model.head
    return head(features)


def call_pair(model, x):
    return model(x[:, :3], x[:, 3:], num_flow_updates=3)[-1]


def make_parts(name):
    from torchvision.models import detection, optical_flow
    size = TORCHVISION_PARTS[name] or 128
    if name.startswith("raft"):
        return Flat(getattr(optical_flow, name)(weights=None),
                    call_pair), size, 6
    model = getattr(detection, name)(weights=None, weights_backbone=None)
    return Flat(model, call_heads), size, 3


def make_timm(name):
    import timm
    name, *rest = name.split(",")
    more = {k: int(v) for k, v in (word.split("=") for word in rest)}
    size = more.pop("size", 0)
    if size and more.pop("resize", 0):
        more["img_size"] = size
    model = timm.create_model(name, **more)
    about = model.default_cfg
    if not size:
        size = about["input_size"][1] if about.get("fixed_input_size") else 128
        size = max(size, (about.get("min_input_size") or (0, 0))[1])
    return Flat(model), size, about["input_size"][0]


def make_ultralytics(name):
    from ultralytics.nn import tasks
    kinds = {"seg": "SegmentationModel", "cls": "ClassificationModel",
             "pose": "PoseModel", "obb": "OBBModel"}
    kind = kinds.get(name.split("-")[-1], "DetectionModel")
    if name.startswith("rtdetr"):
        kind = "RTDETRDetectionModel"
    model = getattr(tasks, kind)(name + ".yaml", verbose=False)
    for m in model.modules():
        if hasattr(m, "export"):
            m.export, m.format, m.dynamic = True, "onnx", False
    return Flat(model), 128, 3


def make_smp(name):
    import segmentation_models_pytorch as smp
    encoder = "mit_b0" if name == "Segformer" else "resnet18"
    return Flat(getattr(smp, name)(encoder, encoder_weights=None,
                                   classes=5)), 128, 3


SMALL = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
         "intermediate_size": 128, "image_size": 64, "num_labels": 10}


def make_transformers(name):
    import transformers as t
    classes = {
        "vit": ("ViT", "ForImageClassification", SMALL),
        "deit": ("DeiT", "ForImageClassification", SMALL),
        "beit": ("Beit", "ForSemanticSegmentation", {
            **SMALL, "num_hidden_layers": 4, "out_indices": [1, 2, 3, 4],
            "patch_size": 8, "use_relative_position_bias": True}),
        "dinov2": ("Dinov2", "ForImageClassification", {
            **SMALL, "patch_size": 8}),
        "convnextv2": ("ConvNextV2", "ForImageClassification", {}),
        "segformer": ("Segformer", "ForSemanticSegmentation", {}),
        "swinv2": ("Swinv2", "ForImageClassification", {
            "image_size": 128, "window_size": 4, "embed_dim": 32,
            "depths": [1, 1, 2], "num_heads": [2, 4, 8]}),
        "mobilevit": ("MobileViT", "ForSemanticSegmentation", {}),
        "poolformer": ("PoolFormer", "ForImageClassification", {}),
        "levit": ("Levit", "ForImageClassification", {}),
        "cvt": ("Cvt", "ForImageClassification", {}),
        "pvt": ("Pvt", "ForImageClassification", {}),
        "glpn": ("GLPN", "ForDepthEstimation", {}),
        "dpt": ("DPT", "ForDepthEstimation", {
            **SMALL, "num_hidden_layers": 4, "patch_size": 8,
            "backbone_out_indices": [0, 1, 2, 3],
            "neck_hidden_sizes": [16, 32, 64, 64], "fusion_hidden_size": 32}),
        "depth_anything": ("DepthAnything", "ForDepthEstimation", None),
        "upernet": ("UperNet", "ForSemanticSegmentation", None),
        "yolos": ("Yolos", "ForObjectDetection", {
            **SMALL, "image_size": [64, 64]}),
        "clip_vision": ("CLIPVision", "Model", SMALL),
        "siglip_vision": ("SiglipVision", "Model", SMALL),
        "focalnet": ("FocalNet", "ForImageClassification", {
            "image_size": 128}),
        "bit": ("Bit", "ForImageClassification", {}),
        "resnet": ("ResNet", "ForImageClassification", {}),
        "mobilenet_v1": ("MobileNetV1", "ForImageClassification", {}),
        "swin2sr": ("Swin2SR", "ForImageSuperResolution", {
            "image_size": 64, "embed_dim": 36, "depths": [2, 2],
            "num_heads": [2, 2]}),
        "superpoint": ("SuperPoint", "ForKeypointDetection", {}),
        "hiera": ("Hiera", "ForImageClassification", {}),
    }
    stem, task, options = classes[name]
    size = 64 if options and options.get("image_size") in (64, [64, 64]) \
        else 128
    if name == "depth_anything":
        options = {"backbone_config": t.Dinov2Config(
            **{**SMALL, "num_hidden_layers": 4, "patch_size": 14,
               "image_size": 112}, out_indices=[1, 2, 3, 4],
            reshape_hidden_states=False),
            "reassemble_hidden_size": 64, "patch_size": 14,
            "neck_hidden_sizes": [16, 32, 64, 64], "fusion_hidden_size": 32}
        size = 112
    elif name == "upernet":
        options = {"backbone_config": t.ConvNextConfig(
            out_features=["stage1", "stage2", "stage3", "stage4"])}
    elif name in ("levit", "pvt", "hiera"):
        size = 224
    config = getattr(t, stem + "Config")(**options)
    model = getattr(t, stem + task)(config)
    return Flat(model, lambda m, x: m(pixel_values=x,
                                      return_dict=False)[:2]), size, 3


# -- small ones of the kinds that no package has --


def conv(i, o, k=3, **more):
    return nn.Conv2d(i, o, k, padding=k // 2, **more)


class Edsr(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = conv(3, 32)
        self.blocks = nn.ModuleList(
            nn.Sequential(conv(32, 32), nn.ReLU(), conv(32, 32))
            for _ in range(3))
        self.tail = nn.Sequential(conv(32, 128), nn.PixelShuffle(2),
                                  conv(32, 3))

    def forward(self, x):
        x = self.head(x)
        y = x
        for block in self.blocks:
            y = y + 0.1 * block(y)
        return self.tail(x + y)


def espcn():
    return nn.Sequential(conv(3, 64, 5), nn.Tanh(), conv(64, 32), nn.Tanh(),
                         conv(32, 27), nn.PixelShuffle(3), nn.Sigmoid())


class Styled(nn.Module):
    """Johnson's: reflection, instance norm, upsampling."""

    def __init__(self):
        super().__init__()

        def block(i, o, k, stride=1, up=1):
            return nn.Sequential(
                nn.Upsample(scale_factor=up) if up > 1 else nn.Identity(),
                nn.ReflectionPad2d(k // 2), nn.Conv2d(i, o, k, stride),
                nn.InstanceNorm2d(o, affine=True))
        self.down = nn.Sequential(block(3, 16, 9), nn.ReLU(),
                                  block(16, 32, 3, 2), nn.ReLU(),
                                  block(32, 64, 3, 2), nn.ReLU())
        self.middle = nn.ModuleList(
            nn.Sequential(block(64, 64, 3), nn.ReLU(), block(64, 64, 3))
            for _ in range(2))
        self.up = nn.Sequential(block(64, 32, 3, 1, 2), nn.ReLU(),
                                block(32, 16, 3, 1, 2), nn.ReLU(),
                                nn.ReflectionPad2d(4), nn.Conv2d(16, 3, 9))

    def forward(self, x):
        x = self.down(x)
        for block in self.middle:
            x = x + block(x)
        return torch.clamp(self.up(x) * 0.5 + 0.5, 0, 1)


class Masked(nn.Module):
    """What exporters make of tensors compared and chosen from."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(conv(3, 8), nn.BatchNorm2d(8),
                                      nn.Hardswish())
        self.head = conv(8, 4, 1)

    def forward(self, x):
        y = self.features(x)
        y = torch.where(y > 0.1, y, 0.2 * y.sin())
        peak = nn.functional.max_pool2d(y, 3, 1, 1)
        y = y * (y == peak).float()
        y = y.masked_fill(y < -0.5, -0.5)
        return self.head(y)


class Center(nn.Module):
    """CenterNet: peaks of a heat map, the best of them, and what another head
    says there."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(conv(3, 16, 3, stride=2),
                                   nn.BatchNorm2d(16), nn.ReLU(),
                                   nn.ConvTranspose2d(16, 16, 4, 2, 1),
                                   nn.ReLU())
        self.heat, self.size = conv(16, 2), conv(16, 2)

    def forward(self, x):
        x = self.trunk(x)
        heat = self.heat(x).sigmoid()
        heat = heat * (nn.functional.max_pool2d(heat, 3, 1, 1) == heat)
        score, place = heat.flatten(1).topk(20)
        place = place % (heat.shape[2] * heat.shape[3])
        size = self.size(x).flatten(2)
        size = size.gather(2, place[:, None].expand(-1, 2, -1))
        return score, size


OWN = {"espcn": espcn, "edsr": Edsr, "styled": Styled, "masked": Masked,
       "center": Center}


def make_own(name):
    return Flat(OWN[name]()), 64, 3


MAKERS = {
    "own": (make_own, OWN), "torchvision": (make_torchvision, TORCHVISION),
    "parts": (make_parts, TORCHVISION_PARTS), "timm": (make_timm, TIMM),
    "ultralytics": (make_ultralytics, ULTRALYTICS), "smp": (make_smp, SMP),
    "transformers": (make_transformers, TRANSFORMERS),
}


def names():
    return [f"{family}/{name}" for family, (_, table) in MAKERS.items()
            for name in table]


def make(name):
    """Returns (module, one picture)."""
    family, name = name.split("/", 1)
    torch.manual_seed(len(name))
    module, size, channels = MAKERS[family][0](name)
    module.eval()
    x = torch.randn(1, channels, size, size)
    spread(module, x)
    return module, x
