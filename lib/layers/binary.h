/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "layers/layer.h"

G_BEGIN_DECLS

/* What layers of two operands share, which are broadcast as NumPy does it:
 * both are inputs, or one is and the other is weight 0. */

typedef struct
{
  PtDoubleList other;           /* the weight's shape */
  gdouble value, lr_scale;
  gint learned;
  gboolean reverse;
} PtBinaryOptions;

extern const gchar *const pt_binary_learned[];

/* Rows of a table of options whose struct begins with these. */
#define PT_BINARY_ROW(key, type) \
  #key, PT_PARAM_ ## type, G_STRUCT_OFFSET (PtBinaryOptions, key)
#define PT_BINARY_PARAMS(neutral) \
  {PT_BINARY_ROW (other, DOUBLE_LIST), "", 1, 1e9, NULL, \
      "with one input: shape of a weight that is the other operand"}, \
  {PT_BINARY_ROW (value, DOUBLE), neutral, 0, 0, NULL, \
      "what the elements of the weight are at first"}, \
  {PT_BINARY_ROW (learned, ENUM), "auto", 0, 0, pt_binary_learned, \
      "whether the weight learns; auto: if it has several elements"}, \
  {PT_BINARY_ROW (reverse, BOOL), "false", 0, 0, NULL, \
      "with one input: the weight is the first operand"}, \
  {PT_BINARY_ROW (lr_scale, DOUBLE), "1", 0, 1e6, NULL, \
      "times the learning rate of the weight; 0: it stays"}

/* Slots of the plan; those behind are free. */
enum
{
  PT_BINARY_FORWARD,
  PT_BINARY_BACKWARD,           /* of the first operand, then of the second */
  PT_BINARY_N_OPS = PT_BINARY_BACKWARD + 2,
};

/* The operands as they are broadcast: a weight may be seen in another shape
 * than it is stored in. */
typedef struct
{
  PtBinary kind;
  PtShape operands[2];
  gint weight;                  /* which of them is the weight; -1: none */
} PtBinaryPair;

/* Of a layer whose weight is "other". */
gboolean pt_binary_get_pair (const PtLayer *layer, PtBinary kind,
    const PtBinaryOptions *options, PtBinaryPair *pair, GError **error);
void pt_binary_add_other (PtLayer *layer, const PtBinaryOptions *options,
    const PtBinaryPair *pair);
/* Declares the output and what backward reads; the weight is there. */
gboolean pt_binary_infer (PtLayer *layer, const PtBinaryPair *pair,
    GError **error);
gboolean pt_binary_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, const PtBinaryPair *pair, GError **error);
gboolean pt_binary_forward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, gint weight, GError **error);
gboolean pt_binary_backward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, gint weight, GError **error);
/* PtLayerKind.get_scale for sums, differences, products and quotients. */
gboolean pt_binary_get_scale (const PtLayer *layer,
    const PtBinaryPair *pair, guint axis, PtTensor *const *weights,
    gdouble *scale, gdouble *shift);
void pt_binary_init (const PtLayer *layer, gdouble value, gfloat *data);

G_END_DECLS
