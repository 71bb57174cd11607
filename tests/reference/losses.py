# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The losses in PyTorch, from a line such as "optical-flow smoothness=0.1":
its own where it has them, else written out from the definition."""

import torch
import torch.nn.functional as F

# What a loss compares with unless told; else the input.
TARGETS = {"optical-flow": "pair", "cross-entropy": "labels", "nll": "labels",
           "bce": "labels", "focal": "labels"}


def charbonnier(x, eps=1e-3):
    return torch.sqrt(x * x + eps * eps)


def flow_loss(flow, target, smoothness=0.02, eps=1e-3):
    """Frame t-1 against frame t warped back by the flow, plus how much
    neighbouring vectors differ."""
    c = target.shape[1] // 2
    older, newer = target[:, :c], target[:, c:]
    h, w = flow.shape[2:]
    ys, xs = torch.meshgrid(torch.arange(h, dtype=flow.dtype),
                            torch.arange(w, dtype=flow.dtype), indexing="ij")
    gx = 2 * (xs + flow[0, 0]) / (w - 1) - 1
    gy = 2 * (ys + flow[0, 1]) / (h - 1) - 1
    warped = F.grid_sample(newer, torch.stack((gx, gy), -1)[None],
                           padding_mode="border", align_corners=True)
    dx = flow[..., 1:] - flow[..., :-1]
    dy = flow[:, :, 1:] - flow[:, :, :-1]
    return charbonnier(older - warped, eps).mean() + smoothness * (
        charbonnier(dx, eps).mean() + charbonnier(dy, eps).mean()) / 2


def cross_entropy(y, t, ignore_index=-100, weight=None, label_smoothing=0,
                  gamma=0):
    """CrossEntropyLoss; with gamma > 0 each pixel's loss, smoothing and class
    weight included, is multiplied by (1 - p_t)^gamma."""
    t = t.long().reshape(y.shape[:1] + y.shape[2:])
    ignore_index = int(ignore_index)
    if weight is not None:
        weight = torch.as_tensor(weight, dtype=y.dtype)
    if not gamma:
        return F.cross_entropy(y, t, weight, ignore_index=ignore_index,
                               label_smoothing=label_smoothing)
    each = F.cross_entropy(y, t, weight, ignore_index=ignore_index,
                           label_smoothing=label_smoothing, reduction="none")
    live = t != ignore_index
    label = torch.where(live, t, torch.zeros_like(t))
    p = torch.softmax(y, 1).gather(1, label.unsqueeze(1)).squeeze(1)
    w = torch.ones_like(p) if weight is None else weight[label]
    return ((1 - p) ** gamma * each)[live].sum() / w[live].sum()


def nll(y, t, ignore_index=-100, weight=None):
    t = t.long().reshape(y.shape[:1] + y.shape[2:])
    if weight is not None:
        weight = torch.as_tensor(weight, dtype=y.dtype)
    return F.nll_loss(y, t, weight, ignore_index=int(ignore_index))


def bce(y, t, pos_weight=1):
    pos_weight = torch.as_tensor(pos_weight, dtype=y.dtype).reshape(
        (-1,) + (1,) * (y.dim() - 2))
    return F.binary_cross_entropy_with_logits(y, t, pos_weight=pos_weight)


def focal(y, t, alpha=0.25, gamma=2):
    """torchvision.ops.sigmoid_focal_loss, reduction="mean"."""
    p = torch.sigmoid(y)
    loss = F.binary_cross_entropy_with_logits(y, t, reduction="none")
    loss = loss * (1 - (p * t + (1 - p) * (1 - t))) ** gamma
    if alpha >= 0:
        loss = loss * (alpha * t + (1 - alpha) * (1 - t))
    return loss.mean()


def ssim(y, t, window=11, sigma=1.5, data_range=1, alpha=1):
    """Equation 13 of Wang et al., as it stands there."""
    window, c = int(window), y.shape[1]
    at = torch.arange(window, dtype=y.dtype) - (window - 1) / 2
    taps = torch.exp(-at ** 2 / (2 * sigma ** 2))
    taps = taps / taps.sum()
    kernel = torch.outer(taps, taps).expand(c, 1, window, window)

    def mean(x):
        return F.conv2d(x, kernel, groups=c)

    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    my, mt = mean(y), mean(t)
    vy, vt = mean(y * y) - my * my, mean(t * t) - mt * mt
    both = mean(y * t) - my * mt
    value = ((2 * my * mt + c1) * (2 * both + c2)
             / ((my * my + mt * mt + c1) * (vy + vt + c2)))
    return alpha * (1 - value.mean()) + (1 - alpha) * F.l1_loss(y, t)


KINDS = {
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "charbonnier": lambda y, t, eps=1e-3: charbonnier(y - t, eps).mean(),
    "optical-flow": flow_loss,
    "cross-entropy": cross_entropy,
    "nll": nll,
    "bce": bce,
    "focal": focal,
    "ssim": ssim,
}


def number(text):
    if ";" in text:
        return [float(n) for n in text.split(";")]
    return float(text)


def make_loss(text):
    name, *rest = text.split()
    options = {k: number(v) for k, v in (r.split("=", 1) for r in rest)}
    return lambda y, t: KINDS[name](y, t, **options)
