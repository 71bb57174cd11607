/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/darknet.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* The file: three int32 of the version, how many pictures were seen (int32,
 * or from version 0.2 on int64), then float32 of layer after layer, all
 * little-endian. */

/* darknet divides by sqrt (variance) + this. */
#define DARKNET_EPS 1e-6

typedef struct
{
  const gfloat *at;             /* what is left */
  gsize n;
  gboolean transposed;          /* matrices of connected layers */
} DarknetReader;

static const gfloat *
darknet_take (DarknetReader *reader, gsize n)
{
  const gfloat *taken = reader->at;

  g_assert (n <= reader->n);
  reader->at += n;
  reader->n -= n;
  return taken;
}

static gfloat *
darknet_get_weight (PtNetwork *network, gint layer, guint i)
{
  return network->nodes[layer].weights[i]->data;
}

static gsize
darknet_count (const PtNetwork *network, gint layer, guint i)
{
  return pt_shape_get_n_elements (&network->nodes[layer].layer->
      weights[i].shape);
}

/* How many numbers the file must have for all of it. */
static gsize
darknet_count_all (const PtNetwork *network, const DarknetWeights *weights,
    guint n)
{
  gsize sum = 0;

  for (guint i = 0; i < n; i++) {
    const PtLayer *layer = network->nodes[weights[i].layer].layer;
    const gsize units = layer->weights[0].shape.dims[0];
    const gboolean norm = weights[i].norm >= 0 || weights[i].folded;

    sum += darknet_count (network, weights[i].layer, 0) +
        units * (norm ? 4 : 1);
  }
  return sum;
}

/* Biases, then scales, means and variances of a batch-norm, then kernels. */
static void
darknet_fill_conv (PtNetwork *network, const DarknetWeights *weights,
    DarknetReader *reader)
{
  const gsize filters =
      network->nodes[weights->layer].layer->weights[0].shape.dims[0];
  const gsize size = filters * sizeof (gfloat);
  const gfloat *bias = darknet_take (reader, filters);
  gfloat *variance;

  if (weights->norm < 0)
    memcpy (darknet_get_weight (network, weights->layer, 1), bias, size);
  else {
    memcpy (darknet_get_weight (network, weights->norm, 0),
        darknet_take (reader, filters), size);
    memcpy (darknet_get_weight (network, weights->norm, 1), bias, size);
    memcpy (darknet_get_weight (network, weights->norm, 2),
        darknet_take (reader, filters), size);
    variance = darknet_get_weight (network, weights->norm, 3);
    memcpy (variance, darknet_take (reader, filters), size);
    /* so that sqrt (variance + 1e-12) is what darknet divides by */
    for (gsize i = 0; i < filters; i++)
      variance[i] += 2 * DARKNET_EPS * sqrt (variance[i]);
  }
  memcpy (darknet_get_weight (network, weights->layer, 0),
      darknet_take (reader, darknet_count (network, weights->layer, 0)),
      darknet_count (network, weights->layer, 0) * sizeof (gfloat));
}

/* Biases, the matrix, then what a batch-norm has, which goes into both. */
static void
darknet_fill_linear (PtNetwork *network, const DarknetWeights *weights,
    DarknetReader *reader)
{
  const PtShape *shape =
      &network->nodes[weights->layer].layer->weights[0].shape;
  const gsize units = shape->dims[0], features = shape->dims[1];
  const gfloat *bias = darknet_take (reader, units);
  const gfloat *matrix = darknet_take (reader, units * features);
  const gfloat *norm =
      weights->folded ? darknet_take (reader, 3 * units) : NULL;
  gfloat *w = darknet_get_weight (network, weights->layer, 0);
  gfloat *b = darknet_get_weight (network, weights->layer, 1);

  for (gsize i = 0; i < units; i++) {
    const gdouble scale = norm == NULL ? 1 :
        norm[i] / (sqrt (norm[2 * units + i]) + DARKNET_EPS);

    b[i] = bias[i] - (norm == NULL ? 0 : scale * norm[units + i]);
    for (gsize k = 0; k < features; k++)
      w[i * features + k] = scale *
          matrix[reader->transposed ? k * units + i : i * features + k];
  }
}

static gboolean
darknet_check_finite (const PtNetwork *network, const gchar *path,
    GError **error)
{
  for (guint i = 0; i < network->n_nodes; i++) {
    const PtLayer *layer = network->nodes[i].layer;

    for (guint j = 0; j < layer->n_weights; j++) {
      const gfloat *data = network->nodes[i].weights[j]->data;
      const gsize n = pt_shape_get_n_elements (&layer->weights[j].shape);

      for (gsize k = 0; k < n; k++)
        if (!isfinite (data[k])) {
          g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: cannot use the "
              "darknet weights: found %s or a negative variance in %s.%s, "
              "element %" G_GSIZE_FORMAT ", expected finite numbers", path,
              isnan (data[k]) ? "NaN" : "infinity", layer->name,
              layer->weights[j].name, k);
          return FALSE;
        }
    }
  }
  return TRUE;
}

/* Bytes before the numbers; 0: not even those are there. */
static gsize
darknet_read_header (const guint8 *data, gsize size, gboolean *transposed)
{
  gint32 version[3];
  gsize header = sizeof version + sizeof (gint32);

  if (size < header)
    return 0;
  memcpy (version, data, sizeof version);
  for (guint i = 0; i < 3; i++)
    version[i] = GINT32_FROM_LE (version[i]);
  if ((gint64) version[0] * 10 + version[1] >= 2 && version[0] < 1000 &&
      version[1] < 1000)
    header += sizeof (gint32);
  *transposed = version[0] > 1000 || version[1] > 1000;
  return size < header ? 0 : header;
}

static gboolean
darknet_check_size (const gchar *path, gsize size, gsize header, gsize wanted,
    GError **error)
{
  if (header > 0 && (size - header) == wanted * sizeof (gfloat))
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: cannot use the darknet "
      "weights: found %" G_GSIZE_FORMAT " bytes, a header of %"
      G_GSIZE_FORMAT " and %" G_GSIZE_FORMAT " numbers, expected %"
      G_GSIZE_FORMAT " numbers for this network", path, size, header,
      header ? (size - header) / sizeof (gfloat) : 0, wanted);
  return FALSE;
}

gboolean
pt_darknet_load_weights (PtNetwork *network, const gchar *path,
    const DarknetWeights *weights, guint n, GError **error)
{
  g_autoptr (GError) reason = NULL;
  g_autoptr (GMappedFile) file = g_mapped_file_new (path, FALSE, &reason);
  DarknetReader reader;
  gsize size, header;

  if (file == NULL) {
    g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: cannot read the darknet "
        "weights: %s", path, reason->message);
    return FALSE;
  }
  size = g_mapped_file_get_length (file);
  header = darknet_read_header ((const guint8 *)
      g_mapped_file_get_contents (file), size, &reader.transposed);
  reader.n = darknet_count_all (network, weights, n);
  if (!darknet_check_size (path, size, header, reader.n, error) ||
      !pt_network_need_weights (network, error))
    return FALSE;
  reader.at = (const gfloat *) (g_mapped_file_get_contents (file) + header);
  for (guint i = 0; i < n; i++)
    if (g_str_equal (network->nodes[weights[i].layer].layer->kind->name,
            "conv2d"))
      darknet_fill_conv (network, &weights[i], &reader);
    else
      darknet_fill_linear (network, &weights[i], &reader);
  return darknet_check_finite (network, path, error);
}
