/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "network/network.h"

G_BEGIN_DECLS

#define DARKNET_MAX_INT 65536

/* Networks of darknet, https://pjreddie.com/darknet: a text of sections, one a
 * layer, and a file of all weights. Both are a stranger's. */

typedef struct
{
  gchar *key, *value;
  guint line;
} DarknetKey;

typedef struct
{
  gchar *name;
  guint line;
  GArray *keys;                 /* DarknetKey */
} DarknetSection;

/* Where weights come from, in the order of the file, and go to. */
typedef struct
{
  gint layer;                   /* conv2d or linear */
  gint norm;                    /* batch-norm after it; -1: none */
  gboolean folded;              /* it has one, that became part of it */
} DarknetWeights;

/* What a section puts out. */
typedef struct
{
  gchar *name;                  /* of the layer here; "input" */
  gint64 c, h, w;
} DarknetOutput;

typedef struct
{
  const gchar *path;
  const DarknetSection *section;        /* at hand */
  guint index;                  /* of it, from 0 for the one after [net] */
  GString *text, *notes;
  guint n_layers;               /* in @text */
  GArray *outputs;              /* DarknetOutput, by index + 1; 0: input */
  GArray *heads;                /* indices + 1 of what a head reads */
  GArray *weights;              /* DarknetWeights */
} Darknet;

/* -- darknet-file.c -- */

/* The sections of a file, DarknetSection. */
GPtrArray *pt_darknet_read (const gchar *path, GError **error);
/* "PATH: line N: section [NAME]: ...", always FALSE. */
gboolean pt_darknet_fail (const gchar *path, const DarknetSection *section,
    guint line, GError **error, const gchar *format, ...)
    G_GNUC_PRINTF (5, 6);
/* The first of that name, as darknet takes it; NULL if there is none. */
const DarknetKey *pt_darknet_find (const DarknetSection *section,
    const gchar *key);

/* -- darknet-layers.c -- */

/* A number of the section at hand, @least to 65536. */
gboolean pt_darknet_get_int (const Darknet *self, const gchar *name,
    gint missing, gint least, gint *value, GError **error);
/* Begins a group of that type, called by @stem and the section's number;
 * (transfer full). */
gchar *pt_darknet_add (Darknet *self, const gchar *stem, const gchar *type,
    const gchar *inputs);
/* What the section at hand puts out. */
void pt_darknet_put (Darknet *self, const gchar *name, gint64 c, gint64 h,
    gint64 w);
/* The groups of the section at hand. */
gboolean pt_darknet_add_section (Darknet *self, GError **error);

static inline const DarknetOutput *
pt_darknet_get (const Darknet *self, guint place)
{
  return &g_array_index (self->outputs, DarknetOutput, place);
}

/* What the section at hand reads, or the newest has put out. */
static inline const DarknetOutput *
pt_darknet_get_input (const Darknet *self)
{
  return pt_darknet_get (self, self->outputs->len - 1);
}

/* -- darknet-weights.c -- */

/* Fills the weights of @network from the file at @path; all of it is needed. */
gboolean pt_darknet_load_weights (PtNetwork *network, const gchar *path,
    const DarknetWeights *weights, guint n, GError **error);

/* -- darknet.c -- */

/* The network of a file, with the weights of another, or none if @weights is
 * NULL. @text is the network file for it, @notes what the user should know,
 * a line each; (transfer full). */
PtNetwork *pt_darknet_load (const gchar *path, const gchar *weights,
    gchar **text, gchar **notes, GError **error);

G_END_DECLS
