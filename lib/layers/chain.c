/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/chain.h"

#include <string.h>

#include "layers/combine.h"

/* Of an output with more elements no table is made. */
#define CHAIN_MAX_TABLE (1 << 24)

typedef struct
{
  const PtLayer *layers[PT_CHAIN_MAX];
  guint n;
} ChainOptions;

/* Adds what @axis reads to a table of its first row, @n elements, which grows
 * by the others. */
static void
chain_add_axis (gint32 *from, gint64 n, const PtMapAxis *axis)
{
  for (gint64 row = axis->n_out; row-- > 0;) {
    const gint64 place = pt_map_get_place (axis, row) * axis->in_stride;

    for (gint64 i = 0; i < n; i++)
      from[row * n + i] = from[i] + place;
  }
}

/* Where each of the @n elements of the output's memory lies in the input's. */
static gint32 *
chain_tabulate (const PtMap *map, gint64 n)
{
  gint32 *from = g_new0 (gint32, n);
  gint64 done = 1;

  for (guint i = 0; i < map->n; i++)
    if (map->axes[i].n_out == 1)
      chain_add_axis (from, 1, &map->axes[i]);
  while (done < n) {
    guint i = 0;

    while (map->axes[i].n_out == 1 || map->axes[i].out_stride != done)
      i++;
    chain_add_axis (from, done, &map->axes[i]);
    done *= map->axes[i].n_out;
  }
  return from;
}

/* The table of all layers, of the last one's output. */
static gint32 *
chain_follow (const ChainOptions *options, GError **error)
{
  g_autofree gint32 *all = NULL;

  for (guint k = options->n; k-- > 0;) {
    const PtLayer *layer = options->layers[k];
    const gint64 n = pt_shape_get_n_elements (&layer->output);
    g_auto (PtMap) map = {.n = 0 };
    g_autofree gint32 *from = NULL;

    if (!layer->kind->get_map (layer, &map, error))
      return NULL;
    from = chain_tabulate (&map, n);
    if (all == NULL) {
      all = g_steal_pointer (&from);
      continue;
    }
    for (gint64 i = 0; i < pt_shape_get_n_elements
        (&options->layers[options->n - 1]->output); i++)
      all[i] = from[all[i]];
  }
  return g_steal_pointer (&all);
}

static gint64
chain_get_divisor (gint64 a, gint64 b)
{
  while (b != 0) {
    const gint64 rest = a % b;

    a = b;
    b = rest;
  }
  return a;
}

/* The longest rows, all as long, of evenly spaced places that @from is made
 * of. */
static gint64
chain_get_run (const gint32 *from, gint64 n)
{
  gint64 run = n;

  for (gint64 i = 1; i < n && run > 1; i++)
    if ((gint64) from[i] - from[i - 1] != (gint64) from[1] - from[0])
      run = chain_get_divisor (run, i);
  return run;
}

/* A table as axes, from the innermost on; what is not even stays a table. */
static void
chain_find_axes (PtMap *map, gint32 *from, gint64 n)
{
  gint64 done = 1;
  PtTaps *taps;

  while (n > 1 && map->n + 1 < PT_COMBINE_MAX_AXES) {
    const gint64 run = chain_get_run (from, n);

    if (run == 1)
      break;
    pt_map_add (map, run, (gint64) from[1] - from[0], done);
    n /= run;
    done *= run;
    for (gint64 i = 0; i < n; i++)
      from[i] = from[i * run];
  }
  taps = pt_map_add (map, n, 1, done)->taps = pt_taps_new ();
  for (gint64 i = 0; i < n; i++) {
    pt_taps_add (taps, from[i], 1);
    pt_taps_end (taps);
  }
}

static gboolean
chain_get_map (const PtLayer *layer, PtMap *map, GError **error)
{
  g_autofree gint32 *from = chain_follow (layer->options, error);

  if (from == NULL)
    return FALSE;
  chain_find_axes (map, from, pt_shape_get_n_elements (&layer->output));
  return TRUE;
}

gboolean
pt_chain_takes (const PtLayer *layer)
{
  return layer->kind->get_map != NULL &&
      pt_shape_get_n_elements (&layer->inputs[0]) <= CHAIN_MAX_TABLE &&
      pt_shape_get_n_elements (&layer->output) <= CHAIN_MAX_TABLE;
}

static const PtParam chain_params[] = {
  {NULL}
};

static const PtLayerKind chain_kind = {
  .name = "chain",
  .options_size = sizeof (ChainOptions),
  .params = chain_params,
  .plan = pt_layer_plan_moves,
  .forward = pt_layer_forward_map,
  .get_map = chain_get_map,
};

PtLayer *
pt_chain_new (const PtLayer *const *layers, guint n)
{
  PtLayer *self = pt_layer_new (&chain_kind, layers[0]->name);
  ChainOptions *options = self->options;

  memcpy (options->layers, layers, n * sizeof *layers);
  options->n = n;
  self->n_inputs = 1;
  self->inputs[0] = layers[0]->inputs[0];
  self->output = layers[n - 1]->output;
  return self;
}
