/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "layers/layer.h"
#include "partime/network.h"

G_BEGIN_DECLS

#define PT_NETWORK_INPUT -1
#define PT_NETWORK_MAX_OUTPUTS 1024

typedef enum
{
  PT_RESIZE_STRETCH,
  PT_RESIZE_LETTERBOX,
  PT_RESIZE_CROP,
} PtResize;

/* The reserved groups, with defaults filled in; "" where nothing is set. */
typedef struct
{
  /* [network] */
  gint width, height, channels, frames;
  gdouble mean, std;
  gint resize;
  gchar *input_shape;           /* of an ONNX model, or "" */
  gchar *output;                /* names of outputs, or "" */
  /* [learning]: texts are checked where they are used, by their owners */
  gchar *mode;                  /* "" : partime if there is a loss, else off */
  gchar *loss;
  gchar *target;                /* "auto" */
  gchar *optimizer;             /* "adam" */
  gchar *learning_rate;         /* "" : the optimizer's */
  gchar *staleness;             /* "auto" */
  gint warmup;                  /* learned frames; -1: 100 if rates are scaled
                                 * by age and there are several stages, or 0 */
  gint interval;                /* every Nth frame learns */
  gchar *policy;                /* "every" */
  gint accumulate;              /* gradients per update */
  gdouble clip_norm;            /* 0: never */
  gdouble orthogonal;           /* momentum of the mean gradient; 0: off */
  gchar *freeze;                /* names of layers, with wildcards */
  gchar *schedule;              /* "constant" */
  gint divergence_window;
  gdouble divergence_factor, divergence_rate;
  gint replay, replay_interval;
  guint64 seed;
  /* [pipeline] */
  gchar *devices, *stages;
  gint precision;               /* a PtPrecision */
  gboolean deterministic;
  /* [output] */
  gchar *kind;
  gdouble opacity;
  gdouble scale;                /* flow: px at full colour; 0: by the frame */
} PtSettings;

typedef struct
{
  PtLayer *layer;
  gint inputs[PT_OP_MAX_INPUTS];        /* layer index, or PT_NETWORK_INPUT */
  PtTensor *weights[PT_LAYER_MAX_WEIGHTS];      /* host, row-major */
  gboolean is_side;             /* the main output does not need it: it never
                                 * learns */
} PtNode;

typedef struct
{
  gchar *name;                  /* the ONNX model's, or the layer's */
  guint node;
} PtOutput;

/* Of the frames, or 0: what a model leaves open of its own input's. */
typedef struct
{
  gint width, height;
  gboolean used;                /* (out): something was open */
} PtOpenSize;

struct _PtNetwork
{
  gatomicrefcount refs;
  gchar *origin;                /* file name for messages */
  PtSettings settings;
  PtShape input;                /* (1, channels x frames, height, width) */
  guint n_nodes;
  PtNode *nodes;                /* in order: inputs come before readers */
  guint n_outputs;              /* at least one, once there are layers */
  PtOutput *outputs;            /* the main one first */
  gchar *left_out;              /* why not all outputs of a model are there;
                                 * NULL: they are */
  gboolean imported;            /* from a model, which says what outputs are */
  gboolean initialised;         /* weights have values */
};

/* Reserved groups as tables over PtSettings, by group name. */
const PtParam *pt_settings_get_params (const gchar *group);
/* Fills @self, fresh and empty, from the text of a network file; shapes follow
 * with pt_network_bind(). */
gboolean pt_config_parse (PtNetwork *self, const gchar *text, gsize length,
    GError **error);
/* Settings only, of a network whose layers come from elsewhere: any of the
 * reserved groups, and no others. */
gboolean pt_config_parse_settings (PtNetwork *self, const gchar *text,
    gsize length, GError **error);
/* What no table can check. @origin is the file. */
gboolean pt_config_check_settings (const PtSettings *settings,
    const gchar *origin, GError **error);
void pt_settings_init (PtSettings *self);
void pt_settings_copy (const PtSettings *src, PtSettings *dst);
void pt_settings_clear (PtSettings *self);

/* Without layers and with default settings; they are for the caller to fill
 * in. */
PtNetwork *pt_network_new_empty (const gchar *origin);
/* A height or width that is not set becomes that of @open, which may be NULL;
 * then the shapes of all layers. */
gboolean pt_network_bind (PtNetwork *self, PtOpenSize *open, GError **error);
/* Shapes of all layers, from the settings and options they have now. */
gboolean pt_network_infer (PtNetwork *self, GError **error);
/* Gives the weights their first values, from the seed of the settings, unless
 * they have some. */
gboolean pt_network_need_weights (PtNetwork *self, GError **error);
/* The outputs that the settings name, by layers; or the last layer. Nothing has
 * changed on failure. */
gboolean pt_network_choose_outputs (PtNetwork *self, GError **error);
/* A list of PtOutput, whose names it frees. */
GArray *pt_network_new_outputs (void);
/* @outputs: (transfer full): at least one. */
void pt_network_take_outputs (PtNetwork *self, GArray *outputs);
void pt_network_clear_outputs (PtNetwork *self);
gboolean pt_network_is_output (const PtNetwork *self, guint node);
/* The layers that @node reads, as inputs= has them; (transfer full). */
gchar *pt_network_print_inputs (const PtNetwork *self, const PtNode *node);
/* The index of the layer of that name, or -1. */
gint pt_network_find_layer (PtNetwork *self, const gchar *name);

G_END_DECLS
