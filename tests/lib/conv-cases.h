/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "dense.h"

/* Convolutions that every device must do. */

typedef struct
{
  const gchar *name;
  RefSize in;
  gint out_c;
  PtConvDesc conv;
} ConvCase;

#define CONV(kh, kw, sh, sw, ph, pw, dh, dw, g, b, a) \
    { { kh, kw }, { sh, sw }, { ph, pw }, { dh, dw }, g, b, \
      PT_ACTIVATION_##a, 0.1f }

/* With something added to the output. */
#define CONV_ADD(kh, kw, sh, sw, ph, pw, dh, dw, g, b, a) \
    { { kh, kw }, { sh, sw }, { ph, pw }, { dh, dw }, g, b, \
      PT_ACTIVATION_##a, 0.1f, .add = TRUE }

static const ConvCase conv_cases[] = {
  {"plain", {16, 12, 12}, 16, CONV (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, NONE)},
  {"odd", {5, 13, 11}, 7, CONV (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, NONE)},
  {"no-bias", {5, 13, 11}, 7, CONV (3, 3, 1, 1, 1, 1, 1, 1, 1, 0, NONE)},
  {"five", {32, 17, 19}, 32, CONV (5, 5, 1, 1, 2, 2, 1, 1, 1, 1, RELU)},
  {"from-rgb", {3, 17, 19}, 32, CONV (5, 5, 1, 1, 2, 2, 1, 1, 1, 1, TANH)},
  {"to-one", {32, 17, 19}, 1, CONV (5, 5, 1, 1, 2, 2, 1, 1, 1, 1, SIGMOID)},
  {"from-one", {1, 9, 14}, 8, CONV (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, RELU)},
  {"one-to-one", {1, 9, 14}, 1, CONV (3, 3, 1, 1, 0, 0, 1, 1, 1, 0, NONE)},
  {"to-two", {24, 20, 20}, 2, CONV (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, NONE)},
  {"stride", {6, 15, 17}, 12, CONV (3, 3, 2, 2, 1, 1, 1, 1, 1, 1, RELU)},
  {"uneven", {6, 16, 18}, 12, CONV (5, 5, 2, 3, 2, 1, 1, 1, 1, 1, LEAKY_RELU)},
  {"stem", {3, 32, 32}, 64, CONV (7, 7, 2, 2, 3, 3, 1, 1, 1, 0, NONE)},
  {"rectangle", {4, 10, 21}, 9, CONV (1, 5, 1, 2, 0, 2, 1, 1, 1, 1, NONE)},
  {"dilated", {8, 19, 15}, 8, CONV (3, 3, 1, 1, 2, 2, 2, 2, 1, 1, RELU)},
  {"dilated-odd", {5, 19, 15}, 3, CONV (3, 2, 1, 1, 3, 1, 3, 2, 1, 1, NONE)},
  {"pointwise", {64, 7, 7}, 48, CONV (1, 1, 1, 1, 0, 0, 1, 1, 1, 1, GELU)},
  {"pointwise-2", {20, 9, 9}, 30, CONV (1, 1, 2, 2, 0, 0, 1, 1, 1, 0, NONE)},
  {"groups", {32, 11, 9}, 64, CONV (3, 3, 1, 1, 1, 1, 1, 1, 2, 1, RELU)},
  {"groups-odd", {6, 11, 9}, 9, CONV (3, 3, 1, 1, 1, 1, 1, 1, 3, 1, NONE)},
  {"depthwise", {32, 12, 13}, 32, CONV (3, 3, 1, 1, 1, 1, 1, 1, 32, 1, SILU)},
  {"depthwise-odd", {7, 12, 13}, 7,
      CONV (3, 3, 2, 2, 1, 1, 1, 1, 7, 1, GELU_TANH)},
  {"multiplier", {5, 12, 13}, 10, CONV (3, 3, 1, 1, 1, 1, 1, 1, 5, 0, NONE)},
  /* few outputs: a window of at least eight elements goes another way */
  {"1-to-1", {1, 12, 41}, 1, CONV (3, 9, 1, 1, 1, 4, 1, 1, 1, 1, TANH)},
  {"1-to-2", {1, 12, 41}, 2, CONV (9, 8, 1, 1, 4, 3, 1, 1, 1, 0, NONE)},
  {"2-to-1", {2, 14, 33}, 1, CONV (5, 5, 1, 1, 2, 2, 1, 1, 1, 1, RELU)},
  {"2-to-4", {2, 14, 33}, 4, CONV (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, NONE)},
  {"3-to-1", {3, 21, 43}, 1, CONV (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, SIGMOID)},
  {"3-to-3", {3, 21, 43}, 3, CONV (3, 3, 1, 1, 0, 0, 1, 1, 1, 1, LEAKY_RELU)},
  {"5-to-2", {5, 20, 31}, 2, CONV (3, 3, 2, 2, 1, 1, 1, 1, 1, 0, NONE)},
  {"5-to-4", {5, 20, 31}, 4, CONV (5, 3, 1, 1, 2, 1, 1, 1, 1, 1, SILU)},
  {"8-to-1", {8, 15, 40}, 1, CONV (3, 3, 1, 1, 0, 0, 1, 1, 1, 0, NONE)},
  {"8-to-2", {8, 15, 40}, 2, CONV (3, 3, 1, 1, 2, 2, 2, 2, 1, 1, TANH)},
  {"8-to-3", {8, 15, 40}, 3, CONV (1, 1, 1, 1, 0, 0, 1, 1, 1, 1, GELU)},
  {"16-to-2", {16, 40, 60}, 2, CONV (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, NONE)},
  {"16-to-3", {16, 18, 25}, 3, CONV (3, 3, 2, 1, 1, 0, 1, 1, 1, 1, RELU)},
  {"16-to-4", {16, 18, 25}, 4, CONV (3, 3, 1, 2, 1, 3, 2, 3, 1, 1, NONE)},
  {"32-to-1", {32, 33, 47}, 1, CONV (5, 5, 1, 1, 2, 2, 1, 1, 1, 1, NONE)},
  {"32-to-3", {32, 16, 90}, 3, CONV (5, 5, 1, 1, 2, 2, 1, 1, 1, 1, NONE)},
  {"32-to-4", {32, 9, 11}, 4, CONV (7, 7, 3, 2, 3, 3, 1, 1, 1, 1, GELU_TANH)},
  {"33-to-1", {33, 9, 34}, 1, CONV (1, 1, 1, 1, 0, 0, 1, 1, 1, 0, NONE)},
  {"33-to-2", {33, 9, 34}, 2, CONV (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, RELU)},
  {"33-to-3", {33, 17, 34}, 3, CONV (3, 3, 1, 1, 2, 2, 2, 2, 1, 1, NONE)},
  {"33-to-4", {33, 9, 34}, 4, CONV (2, 4, 2, 3, 1, 2, 1, 1, 1, 1, SIGMOID)},
  {"window-over-all", {8, 5, 4}, 2, CONV (9, 9, 1, 1, 4, 4, 1, 1, 1, 1, NONE)},
  {"padding-only", {8, 4, 4}, 1, CONV (3, 3, 1, 1, 3, 3, 1, 1, 1, 1, NONE)},
  {"one-pixel", {16, 3, 3}, 3, CONV (3, 3, 1, 1, 0, 0, 1, 1, 1, 1, NONE)},
  {"one-row", {16, 1, 29}, 2, CONV (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, NONE)},
  {"one-column", {16, 29, 1}, 2, CONV (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, NONE)},
  /* padded otherwise at the end */
  {"asymmetric", {6, 15, 17}, 12, { {3, 3}, {2, 2}, {0, 1}, {1, 1}, 1, 1,
      PT_ACTIVATION_RELU, 0, {1, -1}}},
  {"asymmetric-narrow", {16, 18, 25}, 2, { {5, 3}, {1, 1}, {0, 0}, {1, 2}, 1,
      1, PT_ACTIVATION_NONE, 0, {4, 3}}},
  {"asymmetric-depthwise", {8, 15, 17}, 8, { {3, 3}, {2, 1}, {0, 2}, {1, 1},
      8, 1, PT_ACTIVATION_NONE, 0, {1, -2}}},
  {"add", {16, 12, 12}, 16, CONV_ADD (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, RELU)},
  {"add-odd", {5, 13, 11}, 7, CONV_ADD (3, 3, 2, 1, 1, 1, 1, 1, 1, 1, NONE)},
  {"add-only", {24, 7, 9}, 40, CONV_ADD (1, 1, 1, 1, 0, 0, 1, 1, 1, 0, NONE)},
  {"add-few", {16, 18, 25}, 2, CONV_ADD (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, GELU)},
  {"add-groups", {32, 11, 9}, 64,
      CONV_ADD (3, 3, 1, 1, 1, 1, 1, 1, 2, 0, RELU)},
  {"add-depthwise", {7, 12, 13}, 7,
      CONV_ADD (3, 3, 2, 2, 1, 1, 1, 1, 7, 1, TANH)},
  {"add-asymmetric", {6, 15, 17}, 12, { {3, 3}, {2, 2}, {0, 1}, {1, 1}, 1, 1,
      PT_ACTIVATION_RELU, 0, {1, -1}, .add = TRUE}},
  {"whole", {16, 6, 5}, 10, CONV (6, 5, 1, 1, 0, 0, 1, 1, 1, 1, NONE)},
};

static inline gint
conv_size (const PtConvDesc *conv, gint in, guint k)
{
  return (in + 2 * conv->padding[k] + conv->more_padding[k] -
      conv->dilation[k] * (conv->kernel[k] - 1) - 1) / conv->stride[k] + 1;
}
