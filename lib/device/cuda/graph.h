/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/op.h"

G_BEGIN_DECLS

typedef enum
{
  PT_CONV_FORWARD,              /* x w [b] [add] -> y */
  PT_CONV_DATA,                 /* y w -> x */
  PT_CONV_WEIGHTS,              /* x y -> w */
} PtConvPass;

/* What cuDNN is asked for. Everything is channels-last: w is KRSC. With BF16
 * and FP16 all tensors are of 16 bits: 9.19 has no plan, for any GPU and pass,
 * that reads 16 bits and writes 32, nor one that adds a bias of 32 bits. */
typedef struct
{
  PtConvPass pass;
  gint64 x[4], y[4];            /* N C H W */
  gint64 w[4];                  /* K C/groups R S */
  gint64 stride[2], padding[2], dilation[2];
  gint64 more_padding[2];       /* at the end than at the beginning */
  PtPrecision precision;
  /* Forward only, not with 16 bits, and no relu without bias: that has to be
   * compiled. What is added comes first, then bias, then relu. */
  gboolean add, bias, relu;
} PtConvGraph;

/* By these cuDNN knows the tensors; their order is that of the pointers. */
typedef enum
{
  PT_CONV_X,
  PT_CONV_Y,
  PT_CONV_W,
  PT_CONV_B,
  PT_CONV_ADD,                  /* of y's shape */
  PT_CONV_N_TENSORS,
} PtConvTensor;

/* One line, the same for the same graph: for messages and as a key. */
gchar *pt_conv_graph_print (const PtConvGraph *graph);

G_END_DECLS
