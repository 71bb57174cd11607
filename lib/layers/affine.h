/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "layers/layer.h"

G_BEGIN_DECLS

/* What conv2d, conv-transpose2d and linear share: a weight, perhaps a bias,
 * perhaps a second input of the output's shape that is added, and an activation
 * fused to the output. These are weights 0 and 1 of the layer. */

/* What their options begin with. */
typedef struct
{
  gboolean bias;
  gint activation;
  gdouble negative_slope, lr_scale;
} PtAffineOptions;

#define PT_AFFINE_ROW(key, type) \
  #key, PT_PARAM_ ## type, G_STRUCT_OFFSET (PtAffineOptions, key)
#define PT_AFFINE_PARAMS(output) \
  {PT_AFFINE_ROW (bias, BOOL), "true", 0, 0, NULL, \
      "adds a learned number per " output}, \
  {PT_AFFINE_ROW (activation, ENUM), "none", 0, 0, pt_activation_names, \
      "applied to the output"}, \
  {PT_AFFINE_ROW (negative_slope, DOUBLE), "0.01", 0, 100, NULL, \
      "slope below zero of activation=leaky-relu"}, \
  {PT_AFFINE_ROW (lr_scale, DOUBLE), "1", 0, 1e6, NULL, \
      "times the learning rate of its weights; 0: they stay"}

/* The same of both convolutions; pairs are height, width. */
typedef struct
{
  PtAffineOptions affine;
  gint filters;
  gint kernel[2], stride[2], padding[4], dilation[2];
  gint groups;
} PtConvOptions;

#define PT_CONV_ROW(key, type) \
  #key, PT_PARAM_ ## type, G_STRUCT_OFFSET (PtConvOptions, key)
#define PT_CONV_PARAMS(stride_text, padding_text) \
  {PT_CONV_ROW (filters, INT), NULL, 1, 65536, NULL, "output channels"}, \
  {PT_CONV_ROW (kernel, INT_PAIR), NULL, 1, 1024, NULL, \
      "size of the kernel, px"}, \
  {PT_CONV_ROW (stride, INT_PAIR), "1", 1, 1024, NULL, stride_text}, \
  {PT_CONV_ROW (padding, INT_SIDES), "0", 0, 4096, NULL, padding_text}, \
  {PT_CONV_ROW (dilation, INT_PAIR), "1", 1, 1024, NULL, \
      "distance of the kernel's elements, px"}, \
  {PT_CONV_ROW (groups, INT), "1", 1, 65536, NULL, \
      "parts into which the channels are cut, each with its own filters"}

/* Declares weights, saved tensors and what backward reads; the output is
 * already there; its bias has @outputs numbers. */
void pt_affine_infer (PtLayer *layer, const PtShape *weight, gint64 outputs);
/* Whether groups= divides the input's channels and the filters. */
gboolean pt_conv_check_groups (const PtLayer *layer, GError **error);
/* The weight's shape but for its first dimension is the fan-in. */
void pt_affine_init (const PtLayer *layer, guint i, gfloat *data,
    guint64 seed);
/* The weight's first dimension is the output's channels. */
void pt_affine_scale_rows (const PtLayer *layer, const gdouble *scale,
    gfloat *weight);
/* @desc is the forward operation without its activation, which @fused points
 * at; its backward operations are the two types after it. */
gboolean pt_affine_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, PtOpDesc *desc, PtActivation *fused, GError **error);
/* The same of a convolution, transposed or not. */
gboolean pt_conv_plan (const PtLayer *layer, PtOpType type,
    PtWorkspace *workspace, PtLayerPlan *plan, GError **error);
gboolean pt_affine_forward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error);
gboolean pt_affine_backward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error);

G_END_DECLS
