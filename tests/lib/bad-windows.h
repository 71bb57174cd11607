/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Rows of the table of bad cases in test-layers.c: windows and norms. */

  {"max-pool2d", "in=1x3x5x5 kernel=3 padding=1;2;3", PT_ERROR_CONFIG,
      "padding|1;2;3"},
  {"max-pool2d", "in=1x3x2x9 kernel=2 dilation=3 stride=1 padding=2;1",
      PT_ERROR_SHAPE, "padding=2;1;2;1|kernel=2;2"},
  {"conv-transpose2d", "in=1x3x5x5 filters=4 kernel=2 output_padding=1",
      PT_ERROR_SHAPE, "output_padding=1;1|stride=1;1"},
  {"conv-transpose2d", "in=1x3x1x5 filters=4 kernel=2 padding=1",
      PT_ERROR_SHAPE, "padding=1;1;1;1|0x4"},
  {"conv-transpose2d", "in=1x3x5x5 filters=4 kernel=2 groups=3",
      PT_ERROR_SHAPE, "groups=3|3 input|filters=4"},
  {"group-norm", "in=1x3x5x5 num_groups=2", PT_ERROR_SHAPE,
      "num_groups=2|1x3x5x5"},
  {"instance-norm", "in=3", PT_ERROR_SHAPE, "shape 3"},
  {"layer-norm", "in=1x3x5 axis=3", PT_ERROR_SHAPE, "axis 3|1x3x5|-3 to 2"},
  {"layer-norm", "in=1x3x5 normalized_shape=4;5", PT_ERROR_SHAPE,
      "normalized_shape|4|1x3x5"},
  {"normalize", "in=1x3x5 p=3", PT_ERROR_CONFIG, "p|3"},
  {"lrn", "in=1x3x5x5 size=0", PT_ERROR_CONFIG, "size|0"},
  {"lrn", "in=3 size=3", PT_ERROR_SHAPE, "shape 3"},
  {"grid-sample", "in=1x3x5x5,1x4x4x3", PT_ERROR_SHAPE, "1x4x4x3|1xHxWx2"},
  {"lp-pool2d", "in=1x3x5x5 kernel=2 norm_type=0", PT_ERROR_CONFIG,
      "norm_type|0"},
  {"conv2d", "in=1x3x5x5 filters=4 kernel=9 padding=1;1;2;2", PT_ERROR_SHAPE,
      "9x9|8x8"},
